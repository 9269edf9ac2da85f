"""The exported graph at work: raw records in, decisions and the largest parts of each score out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from components.bulk.model import Model
from components.coding.encoder import CODE, Encoder, open_session
from components.data.columns import CONTRIBUTION
from components.runtime.errors import UserError

TOP = 5
"""Parts of a score that are named."""
_DECISIONS = ("score", "p_value", "is_anomaly")
_GRID = 1e-3
"""How far (n + 1) times a p-value may lie from a whole number: float32 rounds 10,001 of them by far less."""


@dataclass(frozen=True)
class Scored:
    """What the graph says about some records.

    Shapes: (record,), (record, top) for top and parts, (record, unit) for codes.
    """

    scores: np.ndarray
    """float32."""
    ranks: np.ndarray
    """(n + 1) times the p-value, int64."""
    alarms: np.ndarray
    """bool."""
    top: np.ndarray
    """Numbers of the values or columns that add most to the score, the largest first."""
    parts: np.ndarray
    """What they add, float32."""
    codes: np.ndarray | None = None
    """float32, where they were asked for."""


class Graph:
    """A session, and the names of what it takes and gives.

    Args:
        model: the version.
        threads: of onnxruntime.
        with_codes: whether `score` gives codes too.

    Raises:
        UserError: onnxruntime cannot open the file, or its inputs are not those of the manifest.
    """

    def __init__(self, model: Model, threads: int, with_codes: bool = False) -> None:
        self._session = open_session(model.scorer, str(model), threads)
        self._model = model
        columns = [column.name for column in model.manifest.columns]
        if {node.name for node in self._session.get_inputs()} != set(columns or ["input"]):
            raise UserError("--model", f"the graph of {model} has other inputs than its manifest", "register it again")
        self._parts = [f"{CONTRIBUTION}{name}" for name in columns] or ["contributions"]
        self.names = columns or _value_names(model.manifest.item_shape)
        """What the numbers in `Scored.top` stand for."""
        outputs = {node.name: node for node in self._session.get_outputs()}
        # a graph for tables has no such output, and the part of it that leads to the code runs beside it
        self._encoder = Encoder(model.scorer, str(model), threads, None) if with_codes and CODE not in outputs else None
        self._own_codes = [CODE] if with_codes and CODE in outputs else []
        self.units = self._encoder.units if self._encoder else outputs[CODE].shape[1] if self._own_codes else 0
        """Numbers of a code; 0 where none are given."""

    def score(self, feed: Mapping[str, np.ndarray]) -> Scored:
        """Run some records, at least one."""
        asked = [*_DECISIONS, *self._parts, *self._own_codes]
        found = dict(zip(asked, self._session.run(asked, dict(feed)), strict=True))
        parts = [found[name] for name in self._parts]
        whole = np.stack(parts, 1) if self._model.manifest.columns else parts[0].reshape(len(parts[0]), -1)
        scores, p_values, alarms = (found[name] for name in _DECISIONS)
        codes = self._encoder.encode(feed) if self._encoder else found.get(CODE)
        return Scored(scores, self._ranks(p_values), alarms, *largest(whole, TOP), codes)

    def reconstruct(self, records: np.ndarray) -> np.ndarray:
        """Reconstructions of images or arrays in scaled units (record, *item)."""
        return self._session.run(["reconstruction"], {"input": records})[0]

    def _ranks(self, p_values: np.ndarray) -> np.ndarray:
        exact = p_values.astype(np.float64) * (self._model.n + 1)
        ranks = np.rint(exact)
        if not (np.abs(exact - ranks) < _GRID).all():
            what = f"p-values of {self._model} are no ranks among {self._model.n} calibration scores"
            raise UserError("--model", what, "score with another version")
        return ranks.astype(np.int64)


def largest(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and values of the largest in each row, descending; of equal ones the first. `values` is used up.

    Taking the maximum a few times is ten times as fast as a partition where rows are long. Shapes: (row, value).
    """
    rows, count = np.arange(len(values)), min(count, values.shape[1])
    top, parts = np.empty((len(values), count), np.int32), np.empty((len(values), count), np.float32)
    for place in range(count):
        top[:, place] = values.argmax(1)
        parts[:, place] = values[rows, top[:, place]]
        values[rows, top[:, place]] = -np.inf
    return top, parts


def _value_names(item_shape: list[int]) -> list[str]:
    """`ROW,COLUMN` of a grey image, `CHANNEL,ROW,COLUMN` of another, the number of a column of an array."""
    shape = item_shape[1:] if len(item_shape) == 3 and item_shape[0] == 1 else item_shape
    return [",".join(map(str, index)) for index in np.ndindex(*shape)]
