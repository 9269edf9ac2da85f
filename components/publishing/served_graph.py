"""What the served models share: a graph proven whole, run in bounded pieces, and what a request may ask of it.

Packaging writes this text into each of their scripts in the place of the import, because MLflow copies one file into a
version; so it imports nothing of this project either.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from mlflow.exceptions import MlflowException

SERVED = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"
"""Set by MLflow's server. There, one request must not take the memory of all; a program may ask for any number."""


class Graph:
    """scorer.onnx of a version.

    Args:
        context: MLflow's: the paths of the artifacts, and the version's config, of which a server may change all but
            the first by SERVING_MODEL_CONFIG and `load_model` by `model_config`: `sha256` of each artifact,
            `most_records` of a request, `batch`, the records of one call, and `threads` of a call.

    Raises:
        MlflowException: an artifact is not the file that was registered.
    """

    def __init__(self, context: Any) -> None:
        config = context.model_config
        for name, expected in config["sha256"].items():
            path = Path(context.artifacts[name])
            if not path.is_file() or _sha256(path) != expected:
                raise MlflowException(
                    f"{path.name} is damaged, it is not the file that was registered; "
                    "restore the files of this version, or serve another one"
                )
        options = onnxruntime.SessionOptions()
        # requests run beside each other, and threads inside of one would compete; also, sums depend on their number
        options.intra_op_num_threads, options.inter_op_num_threads = config["threads"], 1
        options.use_deterministic_compute = True
        self.session = onnxruntime.InferenceSession(
            context.artifacts["scorer"], options, providers=["CPUExecutionProvider"]
        )
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.levels = np.load(context.artifacts["levels"], allow_pickle=False)
        self.batch, self.most_records = config["batch"], config["most_records"]

    def check_size(self, records: int) -> None:
        """Refuse a request of a server that holds no record, or more than it should hold in memory.

        Raises:
            MlflowException: says how many it may hold.
        """
        if os.environ.get(SERVED) == "true" and not 1 <= records <= self.most_records:
            raise MlflowException.invalid_parameter_value(
                f"the request holds {records:,} records, expected 1 to {self.most_records:,}; "
                "send more in several requests, or score files in batches"
            )

    def answer(self, feed: Mapping[str, np.ndarray], params: dict[str, Any] | None) -> dict[str, np.ndarray]:
        """The outputs that are wanted, each (batch, ...), in memory that does not grow with the activations.

        Args:
            feed: the graph's inputs, each (batch, ...).
            params: `outputs` names the outputs wanted, e.g. ["score"] for a short answer; `alpha` moves `is_anomaly`
                to another bound of false alarms than the one the threshold was fitted at.

        Raises:
            MlflowException: an unknown output, or an alpha that cannot be promised.
        """
        params = params or {}
        wanted = list(params.get("outputs") or self.outputs)
        if unknown := sorted(set(wanted) - set(self.outputs)):
            raise MlflowException.invalid_parameter_value(
                f"outputs: unknown {', '.join(unknown)}; known: {', '.join(self.outputs)}"
            )
        found = self._run(feed, list(dict.fromkeys([*wanted, "p_value"])))
        if params.get("alpha") is not None:
            found["is_anomaly"] = self._alarms(found["p_value"], params["alpha"])
        return {name: found[name] for name in wanted}

    def _run(self, feed: Mapping[str, np.ndarray], asked: list[str]) -> dict[str, np.ndarray]:
        records = len(next(iter(feed.values())))
        found: dict[str, np.ndarray] = {}
        # a request without records still gets arrays of the right type
        for start in range(0, max(records, 1), self.batch):
            stop = start + self.batch
            parts = self.session.run(asked, {name: values[start:stop] for name, values in feed.items()})
            for name, part in zip(asked, parts, strict=True):
                whole = found.setdefault(name, np.empty((records, *part.shape[1:]), part.dtype))
                whole[start:stop] = part
        return found

    def _alarms(self, p_value: np.ndarray, alpha: float) -> np.ndarray:
        """Decisions at any alpha (batch,) bool: what fitting the threshold at that alpha would decide."""
        n = len(self.levels)
        if not self.levels[0] <= alpha < 1:
            least = np.ceil(self.levels[0] * 1e6) / 1e6  # rounded up, so that what the message says is enough
            raise MlflowException.invalid_parameter_value(
                f"alpha: must be below 1 and at least {least:g}, the least that {n} calibration records can promise; "
                f"got {alpha:g}"
            )
        # a p-value is a count over n + 1, which float32 gives back
        return np.rint(p_value * np.float64(n + 1)) <= np.searchsorted(self.levels, alpha, side="right")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
