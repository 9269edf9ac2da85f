"""What a registered model is made of, for each kind of data: a script, its files, a signature and an example."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.data.batches import RECORDS, batch_of
from components.data.columns import FALSE_WORDS, MISSING, TRUE_WORDS, Column
from components.data.rows import read_rows
from components.data.splits import Manifest, load_records
from components.publishing.chosen import Chosen
from components.publishing.runs import copy_file
from components.runtime.outputs import sha256
from components.scoring.conformal import Calibration

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature
    from onnxruntime import InferenceSession

COLUMNS = "columns.json"
"""The rules by which served_table.py reads a user's cells."""
LEVELS = "alarm_levels.npy"
"""What p-values decide by at any alpha (n,) float64; see `alarm_levels`."""
_REQUEST_VALUES = 1 << 23
"""Values of a request to a server at most: some 10,000 images of 28x28."""
_SHARED = "served_graph"
"""The module that the scripts share."""
_EXAMPLE_RECORDS = 2
_NUMPY_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(bool)": "bool", "tensor(int64)": "int64"}


@dataclass(frozen=True)
class Package:
    """The parts that MLflow puts together."""

    script: Path
    artifacts: dict[str, str]
    """Name in the script's context, then file."""
    signature: "ModelSignature"
    example: "np.ndarray | pd.DataFrame"
    config: dict[str, object]
    """What served_graph.py goes by."""


def make_package(chosen: Chosen, manifest: Manifest, folder: Path) -> Package:
    """Gather the parts of the model around a scorer.onnx in `folder`."""
    scorer, calibration = folder / "scorer.onnx", Calibration.load(chosen.threshold)
    copy_file(chosen.scorer, scorer)
    np.save(folder / LEVELS, calibration.alarm_levels(), allow_pickle=False)
    return (_table if manifest.kind == "table" else _array)(scorer, manifest, calibration.alpha)


def _array(scorer: Path, manifest: Manifest, alpha: float) -> Package:
    """The graph's own input, with the batch left open."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    session = _open(scorer)

    def specs(names: Sequence[str | None], values: list) -> Schema:
        kinds = [(np.dtype(_NUMPY_TYPES[value.type]), (-1, *value.shape[1:])) for value in values]
        return Schema([TensorSpec(*kind, name) for kind, name in zip(kinds, names, strict=True)])

    names = _outputs(session)
    # without a name, clients send the array as it is
    inputs, outputs = specs([None], session.get_inputs()), specs(names, session.get_outputs())
    signature = ModelSignature(inputs, outputs, _parameters(names, alpha))
    example = np.array(load_records("test")[:_EXAMPLE_RECORDS])
    artifacts = _artifacts(scorer)
    config = _config(artifacts, manifest, manifest.item.size)
    return Package(_script("served_model", scorer.parent), artifacts, signature, example, config)


def _table(scorer: Path, manifest: Manifest, alpha: float) -> Package:
    """Columns of any type: the script converts what comes, MLflow's own types would refuse most of it."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    names, columns = _outputs(_open(scorer)), manifest.columns
    rules = scorer.with_name(COLUMNS)
    rules.write_text(json.dumps(_rules(columns), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    types = [("boolean" if name == "is_anomaly" else "double", name) for name in names]
    signature = ModelSignature(
        Schema([ColSpec(AnyType(), column.name) for column in columns]),
        Schema([ColSpec(*column) for column in types]),
        _parameters(names, alpha),
    )
    artifacts = _artifacts(scorer) | {"columns": str(rules)}
    config = _config(artifacts, manifest, len(columns))
    return Package(_script("served_table", scorer.parent), artifacts, signature, example_rows(columns), config)


def _artifacts(scorer: Path) -> dict[str, str]:
    return {"scorer": str(scorer), "levels": str(scorer.with_name(LEVELS))}


def example_rows(columns: Sequence[Column]) -> "pd.DataFrame":
    """The first test records as a user would send them: dates as ISO 8601, None where nothing is known."""
    import pandas as pd

    rows = next(read_rows("test", columns, size=_EXAMPLE_RECORDS))
    cells = {column.name: [_cell(column, value) for value in rows[column.name]] for column in columns}
    return pd.DataFrame(cells, dtype=object)  # as objects None stays None, which JSON knows; NaN it does not


def _cell(column: Column, value: np.float32 | str) -> float | str | bool | None:
    if value == "" or value != value:
        return None
    if column.kind == "boolean":
        return value == "true"
    if column.origin is not None:
        return (datetime.fromisoformat(column.origin) + timedelta(days=float(value))).isoformat(timespec="seconds")
    return value if isinstance(value, str) else float(value)


def _rules(columns: Sequence[Column]) -> dict[str, object]:
    known = [{"name": c.name, "kind": c.kind, "levels": c.levels, "origin": c.origin} for c in columns]
    return {"columns": known, "missing": MISSING, "true": TRUE_WORDS, "false": FALSE_WORDS}


def _open(scorer: Path) -> "InferenceSession":
    from onnxruntime import InferenceSession

    return InferenceSession(scorer, providers=["CPUExecutionProvider"])


def _outputs(session: "InferenceSession") -> list[str]:
    return [output.name for output in session.get_outputs()]


def _parameters(outputs: list[str], alpha: float) -> object:
    """What a request may ask for: some of the outputs, alarms at another alpha."""
    from mlflow.types import ParamSchema, ParamSpec

    return ParamSchema([ParamSpec("outputs", "string", outputs, shape=(-1,)), ParamSpec("alpha", "double", alpha)])


def _script(name: str, folder: Path) -> Path:
    """The script on its own: what it imports from this project is written in the import's place."""
    text, shared = (Path(__file__).with_name(f"{part}.py").read_text() for part in (name, _SHARED))
    path = folder / f"{name}.py"
    path.write_text(text.replace(f"from components.publishing.{_SHARED} import Graph\n", shared))
    return path


def _config(artifacts: dict[str, str], manifest: Manifest, values: int) -> dict[str, object]:
    """For records of so many values each, as a request holds them."""
    return {
        "sha256": {name: sha256(Path(path)) for name, path in artifacts.items()},
        "batch": batch_of(manifest.item_shape, RECORDS),
        "most_records": max(1, _REQUEST_VALUES // values),
        "threads": 1,
    }
