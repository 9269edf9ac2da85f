"""The registered model: scorer.onnx behind MLflow's pyfunc interface, as a script ("models from code").

MLflow copies this file into the version and runs it where the model is served, so it imports nothing of this project:
mlflow, numpy, onnxruntime and pandas are all that a server needs.
"""

from typing import Any

import mlflow
import numpy as np
import onnxruntime
from mlflow.exceptions import MlflowException

CHUNK = 4096  # records per call of the graph, so that memory does not grow with the request


class Scorer(mlflow.pyfunc.PythonModel):
    """Raw records in their original units to score, p_value, is_anomaly, reconstruction and code."""

    def load_context(self, context: Any) -> None:
        """Open the graph once per server process."""
        self.session = onnxruntime.InferenceSession(context.artifacts["scorer"], providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.levels = np.load(context.artifacts["levels"], allow_pickle=False)

    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Arrays by output name, each (batch, ...).

        Args:
            model_input: raw records (batch, *item) of the signature's type.
            params: `outputs` names the outputs wanted, e.g. ["score"] for a short answer; `alpha` moves `is_anomaly`
                to another bound of false alarms than the one the threshold was fitted at.
        """
        params = params or {}
        wanted = list(params.get("outputs", self.outputs))
        if unknown := sorted(set(wanted) - set(self.outputs)):
            raise MlflowException.invalid_parameter_value(
                f"outputs: unknown {', '.join(unknown)}; known: {', '.join(self.outputs)}"
            )
        asked = list(dict.fromkeys([*wanted, "p_value"]))
        # a request without records still gets arrays of the right type
        starts = range(0, max(len(model_input), 1), CHUNK)
        parts = [self.session.run(asked, {self.input: model_input[start : start + CHUNK]}) for start in starts]
        found = {name: np.concatenate(arrays) for name, arrays in zip(asked, zip(*parts, strict=True), strict=True)}
        if "alpha" in params:
            found["is_anomaly"] = self._alarms(found["p_value"], params["alpha"])
        return {name: found[name] for name in wanted}

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


mlflow.models.set_model(Scorer())
