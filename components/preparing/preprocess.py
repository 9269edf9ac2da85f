"""Raw columns to features as one ONNX graph: what prepare runs is what the exported scorer holds.

In the middle stands scikit-learn's ColumnTransformer, fitted on training rows and converted by skl2onnx. Around it
stand a few nodes for what skl2onnx converts wrongly or not at all: indicators of missing values, the folding of rare
levels, and the order that keeps the features of a column together.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
import pandas as pd
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, RobustScaler, StandardScaler

from components.data.columns import CONTRIBUTION, FEATURES, RESERVED
from components.preparing.plans import Plan
from components.runtime.errors import UserError

ScalingRule = Literal["standard", "robust", "quantile"]
INNER = "preprocess/"
"""Beginning of every other name in the graph that is no column's."""
QUANTILES = 255
OPSET, ML_OPSET = 20, 3

Rows = Mapping[str, np.ndarray]
"""Column, then its canonical values (row,)."""


def blocks(plans: Sequence[Plan], rows: Rows) -> pd.DataFrame:
    """What enters the ColumnTransformer: per column its numbers, its missing ones as 1, or its levels."""
    parts: dict[str, np.ndarray] = {}
    for index, plan in enumerate(plans):
        values = rows[plan.name]
        if plan.is_words:
            parts[f"level{index}"] = plan.fold(values)
            continue
        parts[f"value{index}"] = values
        if plan.has_missing:
            parts[f"missing{index}"] = np.isnan(values).astype(np.float32)
    return pd.DataFrame(parts)


def fit_transformer(plans: Sequence[Plan], rows: Rows, scaling: ScalingRule) -> ColumnTransformer:
    """Medians, scales and levels, from training rows."""
    table = blocks(plans, rows)
    chosen = {kind: [name for name in table if name.startswith(kind)] for kind in ("value", "missing", "level")}
    steps = {
        "value": make_pipeline(SimpleImputer(strategy="median"), _scaler(scaling, len(table))),
        "missing": "passthrough",
        "level": OneHotEncoder(
            categories=[list(plan.levels) for plan in plans if plan.is_words],
            handle_unknown="ignore",
            sparse_output=False,
            dtype=np.float32,
        ),
    }
    used = [(kind, steps[kind], names) for kind, names in chosen.items() if names]
    transformer = ColumnTransformer(used, sparse_threshold=0).fit(table)
    if scaling == "quantile" and chosen["value"]:
        quantiles = transformer.named_transformers_["value"][-1]
        # interpolation leaves equal quantiles apart by a rounding error of float64, which moves the rank of their value
        quantiles.quantiles_ = quantiles.quantiles_.astype(np.float32).astype(np.float64)
    return transformer


def feature_order(plans: Sequence[Plan]) -> np.ndarray:
    """(feature,) the output of the ColumnTransformer that each feature is: those of a column follow each other."""
    owners: list[int] = []
    owners += [index for index, plan in enumerate(plans) if not plan.is_words]
    owners += [index for index, plan in enumerate(plans) if not plan.is_words and plan.has_missing]
    owners += [index for index, plan in enumerate(plans) for _ in plan.levels]
    return np.argsort(owners, kind="stable")


def convert(plans: Sequence[Plan], transformer: ColumnTransformer) -> ModelProto:
    """The graph: an input (batch,) per column, float32 or string, and the output `features` (batch, feature) float32.

    Raises:
        UserError: a column with a name that the graph needs for itself.
    """
    for plan in plans:
        if plan.name in RESERVED or plan.name.startswith((INNER, CONTRIBUTION)):
            what = f"column '{plan.name}' has a name that the exported files need themselves"
            raise UserError("artifacts/ingest", what, f"rename it, or set prepare.columns.{plan.name} to drop")
    inner = compose.add_prefix(_convert_transformer(transformer), INNER)
    front = _front(plans)
    front.ir_version = inner.ir_version
    links = [(f"{value.name}/raw", value.name) for value in inner.graph.input]
    whole = compose.merge_models(front, inner, links)
    return _finish(whole, feature_order(plans))


def _scaler(rule: ScalingRule, rows: int) -> StandardScaler | RobustScaler | QuantileTransformer:
    if rule == "standard":
        return StandardScaler()
    if rule == "robust":
        return RobustScaler()
    return QuantileTransformer(n_quantiles=min(QUANTILES, rows), output_distribution="uniform", subsample=None)


def _convert_transformer(transformer: ColumnTransformer) -> ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    from components.preparing.quantiles import convert_quantiles

    types = [
        (name, (StringTensorType if name.startswith("level") else FloatTensorType)([None, 1]))
        for name in transformer.feature_names_in_
    ]
    model = convert_sklearn(
        transformer,
        "transformer",
        types,
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
        custom_conversion_functions={QuantileTransformer: convert_quantiles},
    )
    # skl2onnx states the lowest versions that do; its operators read the same in these
    del model.opset_import[:]
    model.opset_import.extend(_opsets())
    return model


def _front(plans: Sequence[Plan]) -> ModelProto:
    """Columns (batch,) to what enters the ColumnTransformer, each (batch, 1)."""
    one = f"{INNER}one"
    nodes, inputs, outputs = [], [], []

    def node(kind: str, source: Sequence[str], target: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, source, [target], name=target, **attributes))
        return target

    def output(source: str, name: str, of: int) -> None:
        target = node("Unsqueeze", [source, one], f"{INNER}{name}/raw")
        outputs.append(helper.make_tensor_value_info(target, of, ["batch", 1]))

    for index, plan in enumerate(plans):
        kind = TensorProto.STRING if plan.is_words else TensorProto.FLOAT
        inputs.append(helper.make_tensor_value_info(plan.name, kind, ["batch"]))
        if plan.is_words:
            mapping = {"keys_strings": list(plan.folds), "values_strings": list(plan.folds.values())}
            folded = node("LabelEncoder", [plan.name], f"{INNER}folded{index}", domain="ai.onnx.ml", **mapping,
                          default_string=plan.unknown)  # fmt: skip
            output(folded, f"level{index}", kind)
            continue
        output(plan.name, f"value{index}", kind)
        if plan.has_missing:
            empty = node("IsNaN", [plan.name], f"{INNER}empty{index}")
            output(node("Cast", [empty], f"{INNER}flag{index}", to=kind), f"missing{index}", kind)
    constant = numpy_helper.from_array(np.array([1], np.int64), one)
    return helper.make_model(helper.make_graph(nodes, "front", inputs, outputs, [constant]), opset_imports=_opsets())


def _finish(whole: ModelProto, order: np.ndarray) -> ModelProto:
    """Put the features in order and drop whatever does not belong to the computation."""
    graph = whole.graph
    place = f"{INNER}order"
    graph.initializer.append(numpy_helper.from_array(order.astype(np.int64), place))
    graph.node.append(helper.make_node("Gather", [graph.output[0].name, place], [FEATURES], FEATURES, axis=1))
    output = helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", len(order)])
    tidy = helper.make_graph(graph.node, "preprocess", graph.input, [output], graph.initializer)
    model = helper.make_model(tidy, opset_imports=_opsets(), ir_version=whole.ir_version, producer_name="hourglass")
    onnx.checker.check_model(model)
    return model


def _opsets() -> list[onnx.OperatorSetIdProto]:
    return [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
