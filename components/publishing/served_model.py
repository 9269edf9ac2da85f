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

    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Arrays by output name, each (batch, ...).

        Args:
            model_input: raw records (batch, *item) of the signature's type.
            params: `outputs` names the outputs wanted, e.g. ["score"] for a short answer.
        """
        wanted = list((params or {}).get("outputs", self.outputs))
        if unknown := sorted(set(wanted) - set(self.outputs)):
            raise MlflowException.invalid_parameter_value(
                f"outputs: unknown {', '.join(unknown)}; known: {', '.join(self.outputs)}"
            )
        # a request without records still gets arrays of the right type
        starts = range(0, max(len(model_input), 1), CHUNK)
        parts = [self.session.run(wanted, {self.input: model_input[start : start + CHUNK]}) for start in starts]
        return {name: np.concatenate(arrays) for name, arrays in zip(wanted, zip(*parts, strict=True), strict=True)}


mlflow.models.set_model(Scorer())
