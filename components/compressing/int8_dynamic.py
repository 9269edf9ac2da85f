"""INT8, dynamic: dense layers compute in 8 bits, with the range of activations that each batch has when it comes.

Nothing is learned, so nothing can go stale. Convolutions are as in int8_static.
Limits: a batch has one range for all of its records, so the score of a record depends on those that came with it, by
a few per cent; `batch_flips` counts the decisions that do.
"""

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from components.compressing import Compressed, MethodEntry, MethodParams, Original
from components.compressing.network_part import dense_layers, finished, prepared
from components.runtime.outputs import WORK


class Params(MethodParams):
    """How numbers are rounded."""

    reduce_range: bool = True
    """Weights in 7 bits, see int8_static."""


def _compress(original: Original, params: Params) -> Compressed:
    names = dense_layers(original.graph)
    with tempfile.TemporaryDirectory(dir=WORK / "tmp") as folder:
        path = Path(folder) / "scorer.onnx"
        quantize_dynamic(
            prepared(original.graph),
            path,
            op_types_to_quantize=["MatMul"],
            # a Gemm becomes a MatMul of this name and an Add
            nodes_to_quantize=[*names, *(f"{name}_MatMul" for name in names)],
            per_channel=True,
            reduce_range=params.reduce_range,
            weight_type=QuantType.QInt8,
        )
        graph = finished(onnx.load(path))
    return Compressed(graph, original.parameters)


METHOD = MethodEntry(_compress, Params, "weights in 8 bits, activations by the range of each batch")
