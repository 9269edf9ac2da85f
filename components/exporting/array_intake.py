"""Images and arrays: one input, raw records in their original units, scaled inside the graph."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto

from components.data.scaling import Scale
from components.data.splits import Manifest, load_records
from components.exporting.intake import Chunk, Row
from components.exporting.onnx_files import cut, export_onnx
from components.exporting.scorer import INPUT, OUTPUTS, Scorer
from components.scoring.conformal import Calibration
from components.scoring.detector import Detector


class ArrayIntake:
    """See `Intake`."""

    feed = '{"input": records}'
    remark = ""

    def __init__(self, manifest: Manifest, prepared: Path, detector: Detector, calibration: Calibration) -> None:
        self.manifest, self.prepared = manifest, prepared
        self.scorer = Scorer(Scale(manifest), detector, torch.from_numpy(calibration.scores), calibration.m)
        self.example = torch.zeros((2, *manifest.item_shape), dtype=getattr(torch, manifest.dtype))
        size = "x".join(map(str, manifest.item_shape[1:] if manifest.item.is_image else manifest.item_shape))
        self.records = f"{size} images" if manifest.item.is_image else f"rows of {size} numbers"

    def graphs(self, opset: int) -> dict[str, ModelProto]:
        """The scorer with all its outputs, and its two halves."""
        return cut(export_onnx(self.scorer, self.example, opset), [INPUT], OUTPUTS)

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The same array for torch and for the files."""
        records = load_records("test", self.prepared)
        for start in range(0, len(records), size):
            # a copy: torch cannot hold the read-only memory of a mapped file
            chunk = np.array(records[start : start + size])
            yield chunk, chunk

    def interface(self, latent_dim: int) -> list[Row]:
        """One input, six outputs."""
        shape = ", ".join(map(str, self.manifest.item_shape))
        low, high = self.manifest.value_range
        units = f"raw values {low:g}..{high:g}" if self.manifest.item.is_image else "raw values in their own units"
        return [
            ("`input`", f"(batch, {shape})", self.manifest.dtype, f"{units}; scaling is part of the file"),
            ("`reconstruction`", f"(batch, {shape})", "float32", "in scaled units"),
            ("`code`", f"(batch, {latent_dim})", "float32", "what the record was squeezed through"),
            ("`score`", "(batch,)", "float32", f"{self.scorer.detector.meaning}; higher is stranger"),
            ("`p_value`", "(batch,)", "float32", "(1 + #{calibration >= score}) / (n + 1)"),
            ("`is_anomaly`", "(batch,)", "bool", "an alarm at the declared alpha"),
            ("`contributions`", f"(batch, {shape})", "float32", "each value's part of the score; they add up to it"),
        ]

    def usage(self) -> str:
        """An array of zeros."""
        shape = ", ".join(map(str, self.manifest.item_shape))
        return f"records = np.zeros((2, {shape}), np.{self.manifest.dtype})  # yours go here"
