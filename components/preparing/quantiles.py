"""scikit-learn's QuantileTransformer to uniform as ONNX: the ranks of training values, interpolated.

skl2onnx has a converter of its own; it takes a minute for 500 quantiles and maps a column that is constant in training
to 1 where scikit-learn maps it to 0. This one is a binary search by gathers and as large for one column as for many.
"""

import numpy as np
from onnx import TensorProto
from skl2onnx.common._container import ModelComponentContainer
from skl2onnx.common._topology import Operator, Scope
from sklearn.preprocessing import QuantileTransformer


def convert_quantiles(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
    """Add the nodes: input (batch, column) float32, output the same shape in 0..1. See skl2onnx for the signature."""
    fitted: QuantileTransformer = operator.raw_operator
    quantiles = fitted.quantiles_.astype(np.float32)  # (quantile, column), ascending
    ranks = fitted.references_.astype(np.float32)
    count = len(quantiles)

    def constant(name: str, values: np.ndarray) -> str:
        unique, kind = scope.get_unique_variable_name(name), TensorProto.FLOAT
        if values.dtype == np.int64:
            kind = TensorProto.INT64
        container.add_initializer(unique, kind, values.shape, values.flatten())
        return unique

    def node(kind: str, *inputs: str, output: str | None = None, **attributes: int) -> str:
        output = output or scope.get_unique_variable_name(kind.lower())
        name = scope.get_unique_operator_name(kind)
        # 13 is the lowest set in which all of these read as in set 20
        container.add_node(kind, list(inputs), [output], name=name, op_version=13, **attributes)
        return output

    raw = operator.inputs[0].full_name
    low, high = constant("low", quantiles[:1]), constant("high", quantiles[-1:])
    values = node("Min", node("Max", raw, low), high)

    # the last quantile that is not above the value; what lies behind the last one is above every value
    steps = [1 << power for power in reversed(range(count.bit_length()))]
    padding = np.full((2 * steps[0] - 1 - count, quantiles.shape[1]), np.inf, np.float32)
    padded = constant("padded", np.concatenate([quantiles, padding]))
    position = node("Mul", node("Cast", values, to=TensorProto.INT64), constant("zero", np.array([0], np.int64)))
    for step in steps:
        reached = node("GatherElements", padded, node("Add", position, constant("at", np.array([step - 1]))), axis=0)
        further = node("Add", position, constant("step", np.array([step])))
        position = node("Where", node("LessOrEqual", reached, values), further, position)
    index = node("Sub", position, constant("one", np.array([1])))

    below = node("GatherElements", constant("quantiles", quantiles), index, axis=0)
    slope = node("GatherElements", constant("slopes", _slopes(quantiles, ranks)), index, axis=0)
    rank = node("Gather", constant("ranks", ranks), index, axis=0)
    between = node("Add", rank, node("Mul", node("Sub", values, below), slope))
    tied = node("GatherElements", constant("tied", _ranks_of_ties(quantiles, ranks)), index, axis=0)
    inside = node("Where", node("Equal", values, below), tied, between)
    above = node("Greater", raw, high)
    node("Where", above, constant("top", np.array([1], np.float32)), inside, output=operator.outputs[0].full_name)


def _slopes(quantiles: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Rank per unit behind each quantile (quantile, column); 0 where nothing lies before the next one."""
    widths = np.diff(quantiles.astype(np.float64), axis=0)
    rises = np.diff(ranks.astype(np.float64))[:, None]
    slopes = np.divide(rises, widths, out=np.zeros_like(widths), where=widths > 0)
    return np.pad(np.minimum(slopes, np.finfo(np.float32).max), ((0, 1), (0, 0))).astype(np.float32)


def _ranks_of_ties(quantiles: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The rank of a value that is exactly a quantile (quantile, column): amid equal ones, 0 for the lowest, then 1."""
    result = np.empty_like(quantiles)
    for column, values in enumerate(quantiles.T):
        first = np.searchsorted(values, values, "left")
        last = np.searchsorted(values, values, "right") - 1
        middle = (ranks[first] + ranks[last]) / 2
        result[:, column] = np.select([values == values[0], values == values[-1]], [0.0, 1.0], middle)
    return result
