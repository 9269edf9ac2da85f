"""A trained model with its scores: what turns a record into one number, in the pipeline and in every exported file.

Of several scores s_1 ... s_p the detector makes one:
- log_sum: prod (s_i / exp(mean_i)) ^ w_i with w_i = (1 / sd_i) / sum(1 / sd_j), mean and sd those of log s_i on
  validation. It ranks records as the sum of the standardised logarithms does, is never negative, and is 1 for a usual
  record.
- p_values: -2 sum log p_i with p_i = (1 + #{validation >= s_i}) / (n + 1), Fisher's statistic (Fisher, Statistical
  Methods for Research Workers, 1925); records beyond all of validation tie.
Either way the parts depend on each other, so the promise is made for the combined score, by its own calibration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from components.models import Autoencoder
from components.runtime.errors import UserError
from components.runtime.outputs import read_json, write_json
from components.scores import Score, Seen, State, find, resolve
from components.scoring.ranks import Ranks
from components.scoring.score import reconstruct, reconstruction_error

_CONFIG, _STATE = "score.json", "score.safetensors"
_LARGEST_SAMPLE, _SAMPLE_BYTES = 10_000, 2**28
"""Records of a split that scores are fitted to at most, and what they may take in memory."""
_TINY = 1e-30


class Detector(nn.Module):
    """Model and scores. Shapes: x (batch, *item) scaled, code (batch, code), score (batch,).

    Args:
        model: the trained autoencoder.
        parts: its scores, fitted.
        combine: log_sum or p_values, how several become one.
        usual: what combining knows of validation; empty for a single score.
    """

    def __init__(self, model: Autoencoder, parts: Mapping[str, Score], combine: str, usual: State) -> None:
        super().__init__()
        self.model = model
        self.parts = nn.ModuleDict(parts)
        self.combine = combine
        for name, value in usual.items():
            self.register_buffer(name, value)
        if combine == "p_values" and usual:
            self.ranks = nn.ModuleList(Ranks(scores) for scores in self.validation)

    @property
    def meaning(self) -> str:
        """What a score is, in a few words."""
        each = " and ".join(part.meaning for part in self.parts.values())
        return each if len(self.parts) == 1 else f"{self.combine} of {each}"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, code, score)."""
        x_hat, code = self.model(x)
        return x_hat, code, self.score(x, x_hat, code)

    def score(self, x: Tensor, x_hat: Tensor, code: Tensor) -> Tensor:
        """Higher is stranger (batch,)."""
        each = [part(x, x_hat, code) for part in self.parts.values()]
        if len(each) == 1:
            return each[0]
        if self.combine == "log_sum":
            return torch.exp((torch.stack(each, 1).clamp(min=_TINY).log() - self.mean) @ self.weights)
        return -2 * torch.stack([torch.log(rank(one)) for rank, one in zip(self.ranks, each, strict=True)]).sum(0)

    def contributions(self, x: Tensor, x_hat: Tensor, code: Tensor) -> Tensor:
        """What each value adds to the score (batch, *item), not negative.

        Of several scores each spreads its own shares, weighed as the score weighs them (equally for p-values); the
        whole adds up to the score.
        """
        each = [part.contributions(x, x_hat, code, self.model.decode) for part in self.parts.values()]
        if len(each) == 1:
            return each[0]
        shares = [one / one.flatten(1).sum(1).clamp(min=_TINY).reshape(-1, *[1] * (one.ndim - 1)) for one in each]
        weights = self.weights if self.combine == "log_sum" else self.validation.new_full((len(each),), 1 / len(each))
        mixed = sum(weight * share for weight, share in zip(weights.unbind(), shares, strict=True))
        return mixed * self.score(x, x_hat, code).reshape(-1, *[1] * (mixed.ndim - 1))

    def around(self, model: Autoencoder) -> "Detector":
        """The same scores, fitted to what they were, around another model of the same records and code size."""
        return Detector(model, dict(self.parts.items()), self.combine, dict(self.named_buffers(recurse=False))).eval()

    def save(self, folder: Path) -> None:
        """Write score.json and score.safetensors; the model stays where it is."""
        params = {name: part.params.model_dump() for name, part in self.parts.items()}
        write_json(folder / _CONFIG, {"combine": self.combine, "parts": params})
        state = {name: value for name, value in self.state_dict().items() if not name.startswith(("model.", "ranks."))}
        (folder / _STATE).write_bytes(save({name: value.contiguous() for name, value in state.items()}))


def fit_detector(
    model: Autoencoder,
    scale: nn.Module,
    train: np.ndarray,
    validation: np.ndarray,
    parts: Mapping[str, Any],
    combine: str,
    seed: int,
    where: str,
) -> Detector:
    """Fit the named scores to raw normal records (record, *item); neither calibration nor test has a say.

    Raises:
        UserError: a score does not suit the data, or the records do not suffice; `where` names the params.
    """
    scores: dict[str, Score] = {}
    resolved = resolve(parts, where)
    seen = None
    for name, params in resolved.items():
        entry = find(name, where)
        try:
            if entry.check:
                entry.check(params, model.item)
            if entry.fit or len(resolved) > 1:
                seen = seen or tuple(_sample(model, scale, records, seed) for records in (train, validation))
            state = entry.fit(params, *seen, seed) if entry.fit else {}
        except ValueError as error:
            raise UserError(f"{where}.{name}", str(error), f"change {where} in params.yaml") from None
        scores[name] = entry.build(params, model.item, state)
    usual = _usual(scores, seen[1], combine) if len(scores) > 1 else {}
    return Detector(model, scores, combine, usual).eval()


def load_detector(model: Autoencoder, folder: Path) -> Detector:
    """The detector whose scores lie in artifacts/threshold/V, around its model.

    Raises:
        UserError: a file is missing or damaged.
    """
    stage = f"threshold@{folder.name}"
    config = read_json(folder / _CONFIG, stage)
    try:
        state = load_file(folder / _STATE)
    except FileNotFoundError:
        raise UserError(str(folder / _STATE), "is missing", f"run `dvc repro {stage}` first") from None
    except SafetensorError:
        raise UserError(str(folder / _STATE), "is damaged", f"run `dvc repro -f -s {stage}`") from None
    parts = {}
    for name, params in resolve(config["parts"], stage).items():
        prefix = f"parts.{name}."
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        parts[name] = find(name, stage).build(params, model.item, own)
    usual = {key: value for key, value in state.items() if not key.startswith("parts.")}
    return Detector(model, parts, config["combine"], usual).eval()


@torch.no_grad()
def detect(
    detector: Detector, scale: nn.Module, records: np.ndarray, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and squared errors of raw records (record, *item), of all or of the chosen rows: (record,) float32 each.

    A score is what decisions are made by, higher is stranger; the squared error of the reconstruction is what models
    are compared by, whatever they are scored by.
    """
    found = np.empty((2, len(records) if rows is None else len(rows)), np.float32)
    done = 0
    for batch in reconstruct(detector.model, scale, records, rows):
        end = done + len(batch.x)
        found[0, done:end] = detector.score(batch.x, batch.x_hat, batch.code).numpy()
        found[1, done:end] = reconstruction_error(batch.x, batch.x_hat).numpy()
        done = end
    return found[0], found[1]


def _sample(model: Autoencoder, scale: nn.Module, records: np.ndarray, seed: int) -> Seen:
    """Random records of a split, in their order."""
    size = min(len(records), _LARGEST_SAMPLE, max(1, _SAMPLE_BYTES // (4 * model.item.size)))
    rows = np.sort(np.random.default_rng(seed).choice(len(records), size, replace=False))
    batches = list(reconstruct(model, scale, records, rows))
    return Seen(*(torch.cat([getattr(batch, name) for batch in batches]) for name in ("x", "x_hat", "code")))


@torch.no_grad()
def _usual(scores: Mapping[str, Score], validation: Seen, combine: str) -> State:
    pieces = zip(*(values.split(256) for values in (validation.x, validation.x_hat, validation.code)), strict=True)
    each = torch.cat([torch.stack([part(*piece) for part in scores.values()], 1) for piece in pieces])
    if combine == "p_values":
        return {"validation": each.T.sort(1).values.contiguous()}
    logs = each.double().clamp(min=_TINY).log()
    inverse = 1 / logs.std(0).clamp(min=1e-6)
    return {"mean": logs.mean(0).float(), "weights": (inverse / inverse.sum()).float()}
