"""For tests of tables behind prepare: a prepared folder with a graph laid by hand, and its features in NumPy.

Columns: `age` (numeric, with an indicator of missing values), `since` (date), `member` (boolean), `city` (categorical,
with a level for missing and one for rare values).
"""

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import torch
from fabricated import by_squared_error
from onnx import TensorProto, helper, numpy_helper

from components.data.columns import Column
from components.data.scaling import Scale
from components.data.splits import SPLITS, Manifest, Scaling
from components.models import Blueprint, find
from components.runtime.outputs import sha256, write_json
from components.scoring.conformal import Calibration
from components.scoring.score import score_records
from components.training.weights import save_weights

CITY = ["Bern", "Oslo", "(other)", "(missing)"]
COLUMNS = [
    Column("age", "numeric", 0, 2, []),
    Column("since", "date", 2, 3, [], "2020-01-01"),
    Column("member", "boolean", 3, 5, ["false", "true"]),
    Column("city", "categorical", 5, 9, CITY),
]
MEAN = {"age": 40.0, "since": 700.0}
SPREAD = {"age": 12.0, "since": 300.0}


def draw_rows(rows: int, seed: int) -> pd.DataFrame:
    """Canonical rows as prepare leaves them; a tenth of ages and cities is missing."""
    generator = np.random.default_rng(seed)
    age = generator.normal(40, 12, rows).astype(np.float32)
    age[generator.random(rows) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "since": generator.integers(0, 1500, rows).astype(np.float32),
            "member": generator.choice(["true", "false"], rows),
            "city": generator.choice(["Bern", "Oslo", "Rome", ""], rows, p=[0.5, 0.3, 0.1, 0.1]),
        }
    )


def features_of(rows: pd.DataFrame) -> np.ndarray:
    """What the graph makes of canonical rows, by NumPy alone: (row, 9) float32."""
    age, since = rows["age"].to_numpy(np.float32), rows["since"].to_numpy(np.float32)
    city = [{"": "(missing)"}.get(name, name if name in CITY else "(other)") for name in rows["city"]]
    parts = [
        (np.where(np.isnan(age), np.float32(MEAN["age"]), age) - np.float32(MEAN["age"])) / np.float32(SPREAD["age"]),
        np.isnan(age),
        (np.where(np.isnan(since), np.float32(MEAN["since"]), since) - np.float32(MEAN["since"]))
        / np.float32(SPREAD["since"]),
        *(rows["member"].to_numpy() == level for level in ("false", "true")),
        *(np.array(city) == level for level in CITY),
    ]
    return np.column_stack(parts).astype(np.float32)


def write_preprocess(path: Path, columns: list[Column] = COLUMNS) -> None:
    """The graph: numbers are imputed by the mean and scaled, levels become one-hot rows."""
    nodes, constants, parts, inputs = [], {"depth_values": np.array([0, 1], np.float32)}, [], []
    for column in columns:
        name, text = column.name, column.is_one_hot
        inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING if text else TensorProto.FLOAT, ["batch"]))
        if text:
            constants[f"{name}.depth"] = np.array(len(column.levels), np.int64)
            known = [level for level in column.levels if not level.startswith("(")]
            rest = column.levels.index("(other)") if "(other)" in column.levels else len(column.levels)
            keys = [*known, *([""] if "(missing)" in column.levels else [])]
            values = [column.levels.index(key or "(missing)") for key in keys]
            coded = {"keys_strings": keys, "values_int64s": values, "default_int64": rest}
            nodes += [
                helper.make_node("LabelEncoder", [name], [f"{name}.code"], domain="ai.onnx.ml", **coded),
                helper.make_node("OneHot", [f"{name}.code", f"{name}.depth", "depth_values"], [f"{name}.part"]),
            ]
            parts.append(f"{name}.part")
            continue
        constants[f"{name}.mean"] = np.array(MEAN.get(name, 0), np.float32)
        constants[f"{name}.spread"] = np.array(SPREAD.get(name, 1), np.float32)
        nodes += [
            helper.make_node("IsNaN", [name], [f"{name}.nan"]),
            helper.make_node("Where", [f"{name}.nan", f"{name}.mean", name], [f"{name}.filled"]),
            helper.make_node("Sub", [f"{name}.filled", f"{name}.mean"], [f"{name}.centred"]),
            helper.make_node("Div", [f"{name}.centred", f"{name}.spread"], [f"{name}.scaled"]),
            helper.make_node("Cast", [f"{name}.nan"], [f"{name}.missing"], to=TensorProto.FLOAT),
        ]
        wanted = ["scaled", "missing"][: column.stop - column.start]
        for kind in wanted:
            nodes.append(helper.make_node("Unsqueeze", [f"{name}.{kind}", "one"], [f"{name}.{kind}.part"]))
            parts.append(f"{name}.{kind}.part")
    constants["one"] = np.array([1], np.int64)
    nodes.append(helper.make_node("Concat", parts, ["features"], axis=1))
    output = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", columns[-1].stop])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "preprocess", inputs, [output], tensors)
    sets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=9), path)


def write_prepared(prepared: Path, rows: int = 150) -> Manifest:
    """What prepare leaves of a table without labels."""
    prepared.mkdir(parents=True)
    for seed, split in enumerate(SPLITS):
        drawn = draw_rows(rows, seed)
        drawn.to_parquet(prepared / f"{split}.parquet", index=False)
        np.save(prepared / f"{split}.npy", features_of(drawn))
        np.save(prepared / f"{split}_labels.npy", np.full(rows, -1))
    write_preprocess(prepared / "preprocess.onnx")
    manifest = Manifest(
        kind="table",
        item_shape=[9],
        dtype="float32",
        classes=[],
        normal_classes=[],
        counts={split: {"unlabelled": rows} for split in SPLITS},
        value_range=[-3, 3],
        scaling=Scaling([0.0], [1.0]),
        digests={"preprocess.onnx": "0" * 64, "train.parquet": sha256(prepared / "train.parquet")},
        source={"name": "table", "version": "1"},
        dropped={},
        columns=COLUMNS,
    )
    write_json(prepared / "manifest.json", manifest.to_json())
    write_json(prepared / "validation.json", {"missing": {column.name: 0.0 for column in COLUMNS}})
    return manifest


def as_users_write(rows: pd.DataFrame) -> pd.DataFrame:
    """Canonical rows with dates as people write them."""
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rows["since"], unit="D")
    return rows.assign(since=days.dt.strftime("%Y-%m-%d"))


def make_artifacts(artifacts: Path, model: str = "vanilla") -> Manifest:
    """What the stages before export leave of a variant `v` of that table; its weights are random."""
    manifest = write_prepared(artifacts / "prepare")
    for folder in ("train/v", "threshold/v", "evaluate/v"):
        (artifacts / folder).mkdir(parents=True)
    sizes, base = {"latent_dim": 3}, find(model).default_base
    blueprint = Blueprint(model, sizes, base, sizes if base else None, manifest.item, "mixed")
    torch.manual_seed(5)
    network, scale = blueprint.build(), Scale(manifest)
    if find(model).closed_form:
        network.fit([torch.from_numpy(np.load(artifacts / "prepare/train.npy"))])
    save_weights(network.eval(), artifacts / "train/v/model.safetensors")
    item = {"shape": [9], "unit_range": False, "groups": manifest.item.groups}
    config = {"model": model, "params": sizes, "base": base, "base_params": blueprint.base_params, "item": item}
    write_json(artifacts / "train/v/config.json", {**config, "loss": "mixed", "seed": 5, "data_digest": "0" * 64})
    scores = score_records(network, scale, np.load(artifacts / "prepare/calibration.npy"))
    Calibration.fit(scores, 0.1).save(artifacts / "threshold/v")
    by_squared_error(network).save(artifacts / "threshold/v")
    metrics = {"mse": 0.1, "false_alarm_rate": 0.08, "false_alarm_low": 0.04, "false_alarm_high": 0.13}
    write_json(artifacts / "evaluate/v/metrics.json", metrics)
    return manifest
