"""Magnitude pruning: the smallest weights become zero, and the others learn to do without them.

Papers: Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015;
one limit for all layers as in Blalock et al., "What is the State of Neural Network Pruning?", MLSys 2020.
Limits: single weights go, so the file is smaller (zeros are not stored) and no product is faster: onnxruntime fills
the zeros in when it opens the file.
"""

import copy

import numpy as np
import torch
from onnx import ModelProto, helper, numpy_helper
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from components.compressing import Compressed, MethodEntry, MethodParams, Original
from components.compressing.retraining import rescored, retrain
from components.models import Autoencoder
from components.objectives import load_distance
from components.params.train import Params as TrainParams
from components.runtime.process import device

WORTH_IT = 2 / 3
"""Share of zeros above which a tensor takes less room as values of 4 bytes with indices of 8."""


class Params(MethodParams):
    """How many weights go, and how the others recover."""

    sparsity: float = Field(0.8, gt=0, lt=1)
    """Share of the weights that become zero; below two thirds the file does not shrink."""
    epochs: int | None = Field(None, ge=1, le=100_000)
    """Of fine-tuning; null: as many as training had."""
    learning_rate_factor: float = Field(0.3, gt=0, le=1)
    """Of fine-tuning, times train.learning_rate."""
    max_auroc_loss: float = Field(0.005, ge=0, le=1)
    """AUROC on test that may be lost."""
    min_rank_correlation: float = Field(0.0, ge=-1, le=1)
    """Spearman's, with scores in float32; a network that learned again ranks a little differently, and not worse."""


class Mask(nn.Module):
    """Keeps some weights at zero through every step."""

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as the network sees it."""
        return weight * self.kept


class Continued(Autoencoder):
    """A network that goes on learning from where it is: nothing prepares it again."""

    def __init__(self, network: Autoencoder) -> None:
        super().__init__(network.item, network.loss)
        self.network = network

    def objective(self, x: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        """The network's own."""
        return self.network.objective(x, target)


def _compress(original: Original, params: Params) -> Compressed:
    network = copy.deepcopy(original.detector.model).requires_grad_(True)
    trained = TrainParams.model_validate(original.config["train"])
    where = f"variants.{original.variant}"
    network.distance = load_distance(network.loss, trained.perceptual_weights, device(), where)
    masked = mask(network, params.sparsity)
    fine = {
        "epochs": params.epochs or trained.epochs,
        "learning_rate": trained.learning_rate * params.learning_rate_factor,
    }
    retrain(Continued(network), original, "pruned", trained.model_copy(update=fine), params.model_dump())
    for layer, name in masked:
        parametrize.remove_parametrizations(layer, name)
    compressed = rescored(network, original)
    store_sparsely(compressed.graph)
    return compressed


@torch.no_grad()
def mask(network: nn.Module, sparsity: float) -> list[tuple[nn.Module, str]]:
    """Hold the smallest of all weights at zero; biases and norms stay. Returns what was masked: layer and name."""
    weights = [
        (layer, name, weight)
        for layer in network.modules()
        for name, weight in layer.named_parameters(recurse=False)
        if weight.ndim >= 2
    ]
    sizes = torch.cat([weight.abs().flatten() for _, _, weight in weights])
    limit = sizes.kthvalue(max(1, round(sparsity * len(sizes)))).values
    for layer, name, weight in weights:
        parametrize.register_parametrization(layer, name, Mask((weight.abs() > limit).to(weight.dtype)))
    return [(layer, name) for layer, name, _ in weights]


def store_sparsely(model: ModelProto) -> None:
    """Move tensors of mostly zeros to sparse initializers: the values that are not zero, and where they stand."""
    graph = model.graph
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or (values == 0).sum() <= WORTH_IT * values.size:
            continue
        places = np.flatnonzero(values)
        sparse = helper.make_sparse_tensor(
            numpy_helper.from_array(values.ravel()[places], tensor.name),
            numpy_helper.from_array(places.astype(np.int64), f"{tensor.name}/places"),
            list(values.shape),
        )
        graph.sparse_initializer.append(sparse)
        graph.initializer.remove(tensor)


METHOD = MethodEntry(_compress, Params, "the smallest weights are zero, the others fine-tuned", trains=True)
