"""INT8, static: dense layers compute in 8 bits, with ranges of activations learned once from training records.

Paper: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018; here without training, by onnxruntime's quantiser: QuantizeLinear and DequantizeLinear around each layer.
Departures: a dense layer gives float32, because the next one rounds what it takes anyway. Convolutions are stored in 8
bits and computed in float32: onnxruntime's CPU has no transposed one in 8 bits, and its plain one is slower and loses
the ranking (docs/compression.md).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from pydantic import Field

from components.compressing import Compressed, MethodEntry, MethodParams, Original
from components.compressing.network_part import DENSE, dense_layers, finished, prepared
from components.compressing.recalibrating import feeds
from components.runtime.outputs import WORK

_AT_A_TIME = 64


class Params(MethodParams):
    """How ranges are learned and numbers rounded."""

    records: int = Field(512, ge=1, le=100_000)
    """Training records that the ranges of activations are learned from, drawn with the seed."""
    reduce_range: bool = True
    """Weights in 7 bits: without VNNI, a CPU's products of 8 bits overflow and lose the ranking. Declared and not
    detected, so that the file is the same on every machine."""


class _Reader(CalibrationDataReader):
    """Training records in the way that the quantiser asks for them."""

    def __init__(self, batches: Iterator[dict[str, np.ndarray]]) -> None:
        self.batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None behind the last."""
        return next(self.batches, None)


def _compress(original: Original, params: Params) -> Compressed:
    rows = _draw(original.manifest.size("train"), params.records, original.seed)
    batches = feeds("train", original.manifest, original.prepared, _AT_A_TIME, rows)
    with tempfile.TemporaryDirectory(dir=WORK / "tmp") as folder:
        path = Path(folder) / "scorer.onnx"
        quantize_static(
            prepared(original.graph),
            path,
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(DENSE),
            nodes_to_quantize=dense_layers(original.graph),
            per_channel=True,
            reduce_range=params.reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": list(DENSE)},
        )
        graph = finished(onnx.load(path))
    return Compressed(graph, original.parameters)


def _draw(records: int, count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(records, min(records, count), replace=False))


METHOD = MethodEntry(_compress, Params, "weights and activations in 8 bits, ranges learned from training records")
