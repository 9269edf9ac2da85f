"""The registered model: scorer.onnx behind MLflow's pyfunc interface, as a script ("models from code").

MLflow copies this file into the version and runs it where the model is served, so it imports nothing of this project
but what packaging writes into it: mlflow, numpy, onnxruntime and pandas are all that a server needs.
"""

import sys
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException

from components.publishing.served_graph import Graph

SERVER = "mlflow.pyfunc.scoring_server"
ARRAYS = ("inputs", "instances")
"""The keys of a request under which an array may stand."""


class Scorer(mlflow.pyfunc.PythonModel):
    """Raw records in their original units to score, p_value, is_anomaly, reconstruction and code."""

    def load_context(self, context: Any) -> None:
        """Open the graph once per server process."""
        self.graph = Graph(context)
        (self.input,) = (node.name for node in self.graph.session.get_inputs())
        read_strictly()

    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Arrays by output name, each (batch, ...).

        Args:
            model_input: raw records (batch, *item) of the signature's type.
            params: see `Graph.answer`.

        Raises:
            MlflowException: a value is not finite; and as `Graph.check_size` and `Graph.answer`.
        """
        self.graph.check_size(len(model_input))
        if model_input.dtype.kind == "f":
            self._refuse_infinite(model_input)
        return self.graph.answer({self.input: model_input}, params)

    def _refuse_infinite(self, records: np.ndarray) -> None:
        for start in range(0, len(records), self.graph.batch):
            refuse(records[start : start + self.graph.batch], np.isfinite, "a finite number", start)


def read_strictly() -> None:
    """If this process is MLflow's server, let it read JSON arrays by `read_numbers`.

    MLflow would cut fractions to whole numbers before a model sees them and judge an image scaled to 0..1 as a black
    one, without a word. It has no other place to step in, and reading so is faster: MLflow copies all lists first.
    """
    if f"{SERVER}.app" not in sys.modules:
        return
    server = sys.modules[SERVER]
    theirs = server.infer_and_parse_data

    def ours(data: dict[str, Any], schema: Any = None) -> Any:
        if len(data) != 1:
            return theirs(data, schema)  # which refuses it
        ((key, values),), (expected,) = data.items(), schema.inputs
        if key not in ARRAYS:
            raise MlflowException.invalid_parameter_value(
                f"'{key}' holds a table, and this model takes arrays; send them as 'inputs'"
            )
        return read_numbers(values, expected.type, expected.shape[1:])

    server.infer_and_parse_data = ours


def read_numbers(values: Any, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Nested lists of JSON as records (batch, *shape) of the type that the graph takes.

    Raises:
        MlflowException: records of another shape, or a value that the type cannot hold as it is.
    """
    try:
        found = np.array(values)
    except ValueError:
        raise MlflowException.invalid_parameter_value("records differ in shape") from None
    if found.shape == (0,):
        found = found.reshape(0, *shape)
    if found.shape[1:] != shape or not found.ndim:
        got = "x".join(map(str, found.shape[1:])) or "single values"
        raise MlflowException.invalid_parameter_value(
            f"found a list of {got}, expected a list of records of {'x'.join(map(str, shape))}"
        )
    if found.dtype.kind not in "iuf":
        raise MlflowException.invalid_parameter_value("found values that are no numbers, expected numbers alone")
    if dtype.kind == "u":
        most = np.iinfo(dtype).max
        refuse(found, lambda v: (v >= 0) & (v <= most) & (v == np.floor(v)), f"a whole number from 0 to {most}")
    else:
        refuse(found, lambda v: np.abs(v) <= np.finfo(dtype).max, "a finite number")
    return found.astype(dtype)


def refuse(records: np.ndarray, fits: Any, expected: str, first: int = 0) -> None:
    """Name the first value that does not fit, and its record.

    Raises:
        MlflowException: there is one.
    """
    wrong = ~fits(records)
    if wrong.any():
        place = np.unravel_index(wrong.argmax(), records.shape)
        raise MlflowException.invalid_parameter_value(
            f"record {first + place[0]}: found {records[place]:g}, expected {expected}"
        )


mlflow.models.set_model(Scorer())
