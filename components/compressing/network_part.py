"""The network inside a scorer's graph: the only part that is quantised, so that scores and decisions stay float32."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from components.data.columns import FEATURES
from components.exporting.onnx_files import normalise

FLOAT = onnx.TensorProto.FLOAT
DENSE = ("Gemm", "MatMul")
"""Operators that onnxruntime multiplies in 8 bits faster than in float32."""
CONVOLUTIONS = {"Conv": 0, "ConvTranspose": 1}
"""Operators that it does not, each with the axis of the weight that belongs to the output."""
_MOST = 127


def layers(graph: onnx.GraphProto) -> list[NodeProto]:
    """The nodes that multiply by the network's weights, in their order.

    Those are the ones that the reconstruction depends on, and others that use the same weights again (contributions
    that decode a code of their own).
    """
    weights = {tensor.name for tensor in graph.initializer}
    multiplying = [
        node for node in graph.node if node.op_type in (*DENSE, *CONVOLUTIONS) and weights.intersection(node.input)
    ]
    needed = {output for node in _behind(graph, "reconstruction") for output in node.output}
    used = {name for node in multiplying if node.output[0] in needed for name in weights.intersection(node.input)}
    return [node for node in multiplying if used.intersection(node.input)]


def dense_layers(model: ModelProto) -> list[str]:
    """Names of those that are dense."""
    return [node.name for node in layers(model.graph) if node.op_type in DENSE]


def _behind(graph: onnx.GraphProto, name: str) -> Iterator[NodeProto]:
    """The nodes that a value is made by, as far as the features of a table."""
    makers = {output: node for node in graph.node for output in node.output}
    todo, seen = [name], set()
    while todo:
        name = todo.pop()
        if name in makers and name not in seen and name != FEATURES:
            seen.update(makers[name].output)
            todo += makers[name].input
            yield makers[name]


def store_in_8_bits(model: ModelProto) -> None:
    """Keep the weights of convolutions in 8 bits, one scale for each output channel, and multiply in float32.

    They become float32 when the file is opened: by Cast and Mul, which onnxruntime folds; a DequantizeLinear it would
    compute again for every batch.
    """
    graph, convolutions = model.graph, [node for node in layers(model.graph) if node.op_type in CONVOLUTIONS]
    axis_of = {node.input[1]: CONVOLUTIONS[node.op_type] for node in convolutions}
    opening = []
    for tensor in [tensor for tensor in graph.initializer if tensor.name in axis_of]:
        name, weight = tensor.name, numpy_helper.to_array(tensor)
        others = tuple(axis for axis in range(weight.ndim) if axis != axis_of[name])
        scale = np.maximum(np.abs(weight).max(others, keepdims=True), np.finfo(np.float32).tiny) / np.float32(_MOST)
        held = {f"{name}/int8": np.rint(weight / scale).astype(np.int8), f"{name}/scale": scale}
        graph.initializer.remove(tensor)
        graph.initializer.extend(numpy_helper.from_array(values, called) for called, values in held.items())
        opening.append(helper.make_node("Cast", [f"{name}/int8"], [f"{name}/float"], f"{name}/cast", to=FLOAT))
        opening.append(helper.make_node("Mul", [f"{name}/float", f"{name}/scale"], [name], f"{name}/mul"))
    nodes = [*opening, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def prepared(model: ModelProto) -> ModelProto:
    """A copy for onnxruntime's quantiser, marked as ready: it is as the exporter's optimiser left it."""
    copy = ModelProto()
    copy.CopyFrom(model)
    add_pre_process_metadata(copy)
    return copy


def finished(model: ModelProto) -> ModelProto:
    """What the quantiser made of the dense layers, with convolutions stored small, without its traces, checked."""
    store_in_8_bits(model)
    _drop_unused(model.graph)
    normalise(model, "scorer")
    onnx.checker.check_model(model, full_check=True)
    return model


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
