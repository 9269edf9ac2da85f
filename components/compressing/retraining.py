"""Gradient steps for methods that take some, by the project's own trainer, and the scorer of what comes out."""

import hashlib
import sys
from typing import Any

from safetensors.torch import save

from components.compressing import Compressed, Original
from components.data.scaling import Scale
from components.exporting.intakes import make_intake
from components.exporting.onnx_files import SCORER
from components.models import Autoencoder
from components.params.train import Params as TrainParams
from components.runtime.outputs import WORK
from components.runtime.process import device
from components.training.checkpoint import Checkpoints
from components.training.fitting import fit_by_steps, run_key
from components.training.precision import resolve_precision
from components.training.progress import epoch_log


def retrain(network: Autoencoder, original: Original, method: str, params: TrainParams, settings: Any) -> None:
    """Train on the train split, validation picks the epoch; broken off, it goes on from its last one.

    Args:
        network: with the objective to minimise; left on the CPU with its best weights, in evaluation mode.
        original: what it is made of.
        method: names the checkpoint.
        params: how to train.
        settings: whatever else decides the result, as plain data.

    Raises:
        UserError: training diverges.
    """
    config = {
        "variant": original.variant,
        "seed": original.seed,
        "precision": resolve_precision(params.precision, device()),
        "train": params.model_dump(),
        "settings": settings,
        "data": original.manifest.digests,
    }
    start = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    made_of = {"original": original.graph.SerializeToString(deterministic=True), "start": save(start)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in made_of.items()}
    checkpoints = Checkpoints(original.variant, run_key(config, digests), WORK / "compress" / method)
    with epoch_log(f"{original.variant}, {method}", live=sys.stderr.isatty()) as log:
        fit_by_steps(network, Scale(original.manifest), params, config, checkpoints, log)
    network.cpu().eval()
    checkpoints.remove()


def rescored(network: Autoencoder, original: Original) -> Compressed:
    """Another network in the place of the original's, as a graph too; the threshold is still the original's."""
    detector = original.detector.around(network)
    intake = make_intake(original.manifest, original.prepared, detector, original.calibration)
    parameters = sum(int(tensor.count_nonzero()) for tensor in network.state_dict().values())
    return Compressed(intake.graphs(original.opset)[SCORER], parameters, detector)
