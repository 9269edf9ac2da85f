"""What a training leaves in artifacts/train/V and how later stages get their networks back."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from components.data.item import Item
from components.models import Autoencoder, Blueprint, find
from components.runtime.errors import UserError
from components.runtime.outputs import read_json
from components.training.initial import build

MODEL, PCA_TWIN, CONFIG = "model.safetensors", "pca.safetensors", "config.json"


def save_weights(network: Autoencoder, path: Path) -> None:
    """Write a network's parameters and buffers, without metadata, so that equal weights are equal bytes."""
    path.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}))


def count(network: Autoencoder) -> int:
    """Numbers in a network's parameters and buffers."""
    return sum(tensor.numel() for tensor in network.state_dict().values())


def blueprint_of(config: dict[str, Any]) -> Blueprint:
    """The network that config.json describes."""
    item = Item(
        tuple(config["item"]["shape"]),
        config["item"]["unit_range"],
        tuple((start, stop) for start, stop in config["item"]["groups"]),
    )
    return Blueprint(config["model"], config["params"], config["base"], config["base_params"], item, config["loss"])


def pca_blueprint(item: Item, latent_dim: int) -> Blueprint:
    """PCA at the same code size, the yardstick beside every model."""
    params = find("pca").params(latent_dim=min(latent_dim, item.size)).model_dump()
    return Blueprint("pca", params, None, None, item, "mse")


def load_config(train_dir: Path) -> dict[str, Any]:
    """artifacts/train/V/config.json."""
    return read_json(train_dir / CONFIG, f"train@{train_dir.name}")


def load_model(train_dir: Path) -> Autoencoder:
    """The trained network, on the CPU, in evaluation mode.

    Raises:
        UserError: weights are missing, damaged or of another network.
    """
    return _filled(blueprint_of(load_config(train_dir)), train_dir / MODEL)


def load_pca(train_dir: Path) -> Autoencoder:
    """PCA at the same code size, fitted on the same records."""
    config = load_config(train_dir)
    return _filled(pca_blueprint(blueprint_of(config).item, config["params"]["latent_dim"]), train_dir / PCA_TWIN)


def load_untrained(train_dir: Path) -> Autoencoder | None:
    """The network as it was before its first step; None for a model fitted in closed form."""
    config = load_config(train_dir)
    if find(config["model"]).closed_form:
        return None
    return build(blueprint_of(config), config["train"]["init"], config["seed"]).eval()


def _filled(blueprint: Blueprint, path: Path) -> Autoencoder:
    network = blueprint.build()
    remedy = f"run `dvc repro train@{path.parent.name}`"
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(str(path), f"no weights for '{path.parent.name}'", f"{remedy} first") from None
    except (SafetensorError, RuntimeError):
        raise UserError(str(path), "is damaged or of another network", f"{remedy} again with -f -s") from None
    return network.eval()
