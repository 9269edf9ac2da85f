"""The encoder inside a scorer: the part of the registered graph that leads to the code, and nothing else of it.

It is cut out of the very file that scores, so every version has one, compressed ones and those of tables too, and its
codes are the scorer's. onnxruntime computes a whole graph whatever output is asked for; cut, vanilla is twice and conv
three times as fast.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from components.coding.cache import Cache, limit_bytes
from components.publishing.listing import identify_records
from components.runtime.errors import UserError

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
        import onnxruntime

        content, self.units, looks_at_the_batch = _cut(scorer, shown)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.use_deterministic_compute = True
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._inputs = self._session.get_inputs()
        self._cache, self._new = None, []
        limit = limit_bytes()
        if cache and limit and not looks_at_the_batch and len(self._inputs) == 1 and self._inputs[0].name == "input":
            self._cache = Cache(self._key(content, threads), cache, limit)

    def encode(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        """Codes of raw records (record, unit) float32.

        Shapes: every value of `feed` (record, …).
        """
        count = len(next(iter(feed.values())))
        if self._cache is None:
            parts = [{name: values[at : at + BATCH] for name, values in feed.items()} for at in range(0, count, BATCH)]
            return np.concatenate([np.empty((0, self.units), np.float32), *map(self._run, parts)])
        records, codes = feed["input"], np.empty((count, self.units), np.float32)
        digests = identify_records(records)
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

    def _key(self, content: bytes, threads: int) -> str:
        """The graph, and how this machine computes it: what it makes of noise tells one kind of CPU from another."""
        import onnxruntime

        shape, dtype = self._inputs[0].shape[1:], np.uint8 if "uint8" in self._inputs[0].type else np.float32
        noise = np.random.default_rng(0).integers(0, 256, (_PROBES, *shape)).astype(dtype)
        digest = hashlib.sha256(content)
        digest.update(f"{onnxruntime.__version__} {threads}".encode())
        digest.update(self._run({"input": noise}).tobytes())
        return digest.hexdigest()


def _cut(scorer: Path, shown: str) -> tuple[bytes, int, bool]:
    """The graph up to the code, the units of a code, and whether an operator looks at the whole batch."""
    import onnx
    from onnx.utils import Extractor

    whole = onnx.load(scorer)
    try:
        encoder = Extractor(whole).extract_model([value.name for value in whole.graph.input], [CODE])
    except (ValueError, KeyError):
        raise UserError(
            "--model", f"the graph of {shown} has no code inside", "ask a version that an autoencoder was exported to"
        ) from None
    units = encoder.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    operators = {node.op_type for part in (encoder.graph, *encoder.functions) for node in part.node}
    return encoder.SerializeToString(deterministic=True), units, bool(operators & _LOOKS_AT_THE_BATCH)
