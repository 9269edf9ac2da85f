"""The way in: what a raw record is, for each kind of data, and how it reaches the network in an exported file."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from onnx import ModelProto
from torch import Tensor

from components.exporting.scorer import Scorer

Records = np.ndarray | Mapping[str, np.ndarray]
"""Raw records as an ONNX file takes them: one array (batch, *item), or for tables (batch,) by column."""
Chunk = tuple[np.ndarray, Records]
"""Consecutive records as the torch model takes them (batch, *item), and the same as the ONNX files do."""
Row = tuple[str, str, str, str]
"""One line of the card's table of inputs and outputs: name, shape, type, meaning."""


class Intake(Protocol):
    """One way in."""

    scorer: Scorer
    example: Tensor
    """What the scorer takes, with two records of zeros: of a batch of one the exporter would make a constant."""
    records: str
    """What a record is, in the plural."""
    feed: str
    """Python that makes of `records` (see `usage`) what onnxruntime takes."""
    remark: str
    """What a user of the files must know besides; may be empty."""

    def graphs(self, opset: int) -> dict[str, ModelProto]:
        """The ONNX graphs by file name."""

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The test split, `size` records at a time."""

    def interface(self, latent_dim: int) -> list[Row]:
        """Inputs and outputs of scorer.onnx."""

    def usage(self) -> str:
        """Python lines that make `records`, two of them, as a user would."""
