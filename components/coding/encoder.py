"""The encoder inside a scorer: the part of the registered graph that leads to the code, and nothing else of it.

It is cut out of the very file that scores, so every version has one, compressed ones and those of tables too, and its
codes are the scorer's. onnxruntime computes a whole graph whatever output is asked for; cut, vanilla is twice and conv
three times as fast.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.coding.cache import Cache, limit_bytes
from components.publishing.listing import identify_records
from components.runtime.errors import UserError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CODE = "code"
BATCH = 256
"""Records at a time: a cut graph is fastest with few."""
_PROBES = 64
_LOOKS_AT_THE_BATCH = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
"""Operators whose result for a record depends on the records beside it."""


class Encoder:
    """Raw records in, codes out; what was computed before is looked up where that gives the very same bits.

    A code is looked up only where it depends on its record alone: for records that are one array (rows of a table are
    encoded sooner than recognised) and graphs without dynamic quantisation, which scales by the whole batch.

    Args:
        scorer: the graph of a version.
        shown: how people know the version.
        threads: of onnxruntime; sums depend on it.
        cache: folder of what was computed before; None computes everything.

    Raises:
        UserError: the graph has no code inside.
    """

    def __init__(self, scorer: Path, shown: str, threads: int, cache: Path | None) -> None:
        content, looks_at_the_batch = _cut(scorer, shown)
        self._session = open_session(content, shown, threads)
        inputs = self._session.get_inputs()
        noise = self._run({each.name: _noise(each.type, each.shape[1:]) for each in inputs})
        self.units = noise.shape[1]
        """Numbers of a code."""
        self._cache, self._new = None, []
        limit = limit_bytes()
        if cache and limit and not looks_at_the_batch and [each.name for each in inputs] == ["input"]:
            self._cache = Cache(_key(content, threads, noise), cache, limit)

    def encode(self, feed: Mapping[str, np.ndarray], identities: Callable[[], np.ndarray] | None = None) -> np.ndarray:
        """Codes of raw records (record, unit) float32.

        Args:
            feed: values (record, …) by input.
            identities: gives `identify_records` of the input, for who needs them for something else too.
        """
        count = len(next(iter(feed.values())))
        if self._cache is None:
            parts = [{name: values[at : at + BATCH] for name, values in feed.items()} for at in range(0, count, BATCH)]
            return np.concatenate([np.empty((0, self.units), np.float32), *map(self._run, parts)])
        records, codes = feed["input"], np.empty((count, self.units), np.float32)
        digests = identities() if identities else identify_records(records)
        known, found = self._cache.find(digests)
        codes[known] = found.reshape(-1, self.units)
        missing = np.flatnonzero(~known)
        for start in range(0, len(missing), BATCH):
            rows = missing[start : start + BATCH]
            codes[rows] = self._run({"input": records[rows]})
        if len(missing):
            self._new.append((digests[missing], codes[missing]))
        return codes

    def keep(self) -> None:
        """Let later processes find what was computed since the last time."""
        if self._cache and self._new:
            self._cache.add(*(np.concatenate(each) for each in zip(*self._new, strict=True)))
            self._new.clear()

    def _run(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._session.run([CODE], dict(feed))[0]


def open_session(graph: Path | bytes, shown: str, threads: int) -> "InferenceSession":
    """A graph at work, with a fixed number of threads, because sums depend on it.

    Raises:
        UserError: onnxruntime cannot open it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no class in common
        first = str(error).partition("\n")[0]
        what, fix = f"onnxruntime cannot open {shown} ({first})", "score with another version"
        raise UserError("--model", what, fix) from None


def _cut(scorer: Path, shown: str) -> tuple[bytes, bool]:
    """The graph up to the code, and whether an operator looks at the whole batch."""
    import onnx
    from onnx import helper
    from onnx.utils import Extractor

    whole = onnx.load(scorer)
    graph = whole.graph
    if not any(CODE in node.output for node in graph.node):
        fix = "name a version that `python -m components.register` made"
        raise UserError("--model", f"the graph of {shown} has no code inside", fix)
    if not any(value.name == CODE for value in (*graph.output, *graph.value_info)):
        graph.output.append(helper.make_tensor_value_info(CODE, onnx.TensorProto.FLOAT, [None, None]))
    encoder = Extractor(whole).extract_model([value.name for value in graph.input], [CODE])
    operators = {node.op_type for part in (encoder.graph, *encoder.functions) for node in part.node}
    return encoder.SerializeToString(deterministic=True), bool(operators & _LOOKS_AT_THE_BATCH)


def _noise(kind: str, shape: Sequence[int]) -> np.ndarray:
    """Made-up records for an input of that type and shape, the same every time."""
    if kind == "tensor(string)":
        return np.full(_PROBES, "", object)
    values = np.random.default_rng(0).integers(0, 256, (_PROBES, *shape))
    return values.astype(np.uint8 if kind == "tensor(uint8)" else np.float32)


def _key(content: bytes, threads: int, noise: np.ndarray) -> str:
    """Of a graph, and of how this machine computes it: the codes of noise tell one kind of CPU from another."""
    import onnxruntime

    digest = hashlib.sha256(content)
    digest.update(f"{onnxruntime.__version__} {threads}".encode())
    digest.update(noise.tobytes())
    return digest.hexdigest()
