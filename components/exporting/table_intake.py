"""Tables: one input per raw column; what prepare made of the columns is made inside the file, by the very same graph.

The network is exported with features as its input and joined to preprocess.onnx. TorchScript knows no strings, so the
archive begins at the features.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, compose, helper, numpy_helper

from components.data.columns import CONTRIBUTION, FEATURES, PREPROCESS
from components.data.rows import read_rows
from components.data.scaling import Scale
from components.data.splits import Manifest, load_records
from components.exporting.intake import Chunk, Row
from components.exporting.onnx_files import cut, export_onnx, load_onnx
from components.exporting.scorer import CONTRIBUTIONS, INPUT, TableScorer
from components.runtime.errors import UserError
from components.scoring.conformal import Calibration
from components.scoring.detector import Detector

DECISIONS = ("score", "p_value", "is_anomaly")
_CORE = "core/"
_TYPES = {"boolean": "string", "categorical": "string", "numeric": "float32", "date": "float32"}
_MEANING = {
    "numeric": "numeric; NaN where missing",
    "boolean": "boolean: 'true' or 'false'; '' where missing",
    "categorical": "categorical, any text; '' where missing",
    "date": "date: days since {origin}; NaN where missing",
}


class TableIntake:
    """See `Intake`.

    Raises:
        UserError: preprocess.onnx is missing, damaged, or written for another operator set.
    """

    feed = "records"

    def __init__(self, manifest: Manifest, prepared: Path, detector: Detector, calibration: Calibration) -> None:
        self.columns, self.prepared = manifest.columns, prepared
        scores = torch.from_numpy(calibration.scores)
        self.scorer = TableScorer(manifest.columns, Scale(manifest), detector, scores, calibration.m)
        self.example = torch.zeros((2, *manifest.item_shape))
        self.records = f"table rows of {len(self.columns)} columns"
        self.remark = (
            "encoder.onnx and reconstructor.onnx take the same columns and give `code` (batch, code) and "
            f"`reconstruction` (batch, {manifest.item.size}), the features as the network has them. "
            f"model.torchscript.pt takes the {manifest.item.size} features (batch, {manifest.item.size}) float32 that "
            f"artifacts/prepare/{PREPROCESS} makes of the columns: TorchScript knows no strings. Beside the outputs of "
            "scorer.onnx it gives the reconstruction and the code."
        )
        self.outputs = (*DECISIONS, *(f"{CONTRIBUTION}{column.name}" for column in self.columns))

    def graphs(self, opset: int) -> dict[str, ModelProto]:
        """The joined graph cut three ways, each with the raw columns as inputs."""
        front = self._front(opset)
        core = _with_named_contributions(export_onnx(self.scorer, self.example, opset), self.outputs[len(DECISIONS) :])
        whole = _join(front, core)
        return cut(whole, [column.name for column in self.columns], self.outputs)

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Features for torch, raw columns for the files."""
        features = load_records("test", self.prepared)
        starts = range(0, len(features), size)
        for start, rows in zip(starts, read_rows("test", self.columns, self.prepared, size), strict=True):
            # a copy: torch cannot hold the read-only memory of a mapped file
            yield np.array(features[start : start + size]), rows

    def interface(self, latent_dim: int) -> list[Row]:
        """One input for each column, and one contribution."""
        del latent_dim
        inputs = [
            (f"`{column.name}`", "(batch,)", _TYPES[column.kind], _MEANING[column.kind].format(origin=column.origin))
            for column in self.columns
        ]
        return [
            *inputs,
            ("`score`", "(batch,)", "float32", f"{self.scorer.detector.meaning}; higher is stranger"),
            ("`p_value`", "(batch,)", "float32", "(1 + #{calibration >= score}) / (n + 1)"),
            ("`is_anomaly`", "(batch,)", "bool", "an alarm at the declared alpha"),
            (f"`{CONTRIBUTION}COLUMN`", "(batch,)", "float32", "each column's part of the score; they add up to it"),
        ]

    def usage(self) -> str:
        """An array for each column."""
        values = {column.name: "np.float32([0, np.nan])" for column in self.columns}
        for column in self.columns:
            if column.is_one_hot:
                values[column.name] = f"np.array([{column.levels[0]!r}, ''], object)"
        lines = [f"    {name!r}: {value}," for name, value in values.items()]
        return "\n".join(["records = {  # yours go here", *lines, "}"])

    def _front(self, opset: int) -> ModelProto:
        front = load_onnx(self.prepared / PREPROCESS, "prepare")
        found = {entry.domain: entry.version for entry in front.opset_import}[""]
        if found != opset:
            fix = f"set export.opset to {found}"
            raise UserError("export.opset", f"is {opset}, and {PREPROCESS} is written for {found}", fix)
        return front


def _with_named_contributions(core: ModelProto, names: tuple[str, ...]) -> ModelProto:
    """Turn the output (batch, column) into one (batch,) for each column."""
    graph = core.graph
    for index, name in enumerate(names):
        place = f"{name}/index"
        graph.initializer.append(numpy_helper.from_array(np.array(index, np.int64), place))
        graph.node.append(helper.make_node("Gather", [CONTRIBUTIONS, place], [name], name=name, axis=1))
        graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch"]))
    return core


def _join(front: ModelProto, core: ModelProto) -> ModelProto:
    """Feed the output of one graph to the other; the core's inner names get a prefix, so that no column has one."""
    outputs = [value.name for value in core.graph.output]
    core = compose.add_prefix(core, _CORE, rename_inputs=True, rename_outputs=False)
    front.ir_version = core.ir_version = max(front.ir_version, core.ir_version)
    whole = compose.merge_models(front, core, [(FEATURES, f"{_CORE}{INPUT}")], outputs=outputs)
    # merged with repetitions, in an order that differs between runs
    versions = sorted({entry.domain: entry.version for entry in whole.opset_import}.items())
    del whole.opset_import[:]
    whole.opset_import.extend(helper.make_opsetid(*entry) for entry in versions)
    return whole
