"""ONNX: one export of the scorer, smaller graphs cut out of it, and nothing in them that differs between runs.

The exporter leaves absolute paths and stack traces in metadata_props and doc strings; they go before a byte is written.
Encoder and reconstructor are cuts, not exports of their own, so that their values are those of the scorer to the bit.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto
from onnx.utils import Extractor
from torch import Tensor

from components.exporting.scorer import INPUT, OUTPUTS, Scorer
from components.runtime.errors import UserError

SCORER, ENCODER, RECONSTRUCTOR = "scorer.onnx", "encoder.onnx", "reconstructor.onnx"


def export_onnx(scorer: Scorer, example: Tensor, opset: int) -> ModelProto:
    """The whole scorer as one graph, from INPUT to the scorer's outputs.

    Args:
        scorer: the module to export.
        example: raw records (batch >= 2, *item); of a batch of one the exporter would make a constant.
        opset: ONNX operator set.
    """
    program = torch.onnx.export(
        scorer,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        opset_version=opset,
        external_data=False,
        verbose=False,
    )
    whole = program.model_proto
    written = {entry.domain: entry.version for entry in whole.opset_import}
    if written.get("") != opset:
        raise RuntimeError(f"the exporter wrote operator sets {written} where {opset} was asked for")
    return whole


def cut(whole: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, ModelProto]:
    """The three graphs by file name, checked and normalised.

    Args:
        whole: a graph with these outputs and with `code` and `reconstruction`.
        inputs: of all three.
        outputs: of the scorer.
    """
    extractor = Extractor(whole)
    cuts = {SCORER: outputs, ENCODER: ("code",), RECONSTRUCTOR: ("reconstruction",)}
    models = {name: extractor.extract_model(list(inputs), list(wanted)) for name, wanted in cuts.items()}
    for name, model in models.items():
        normalise(model, name.removesuffix(".onnx"))
        onnx.checker.check_model(model, full_check=True)
    return models


def normalise(model: ModelProto, name: str) -> None:
    """Remove what depends on the place and the process that exported; the graph gets a name of its own."""
    strip(model)
    model.graph.name = name
    model.producer_name, model.producer_version = "pytorch", torch.__version__


def strip(message: Message) -> None:
    """Clear doc strings and metadata at every level: model, functions, graphs, nodes, attributes, values, tensors."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in value if field.is_repeated else [value]:
                strip(child)


def save_onnx(model: ModelProto, path: Path) -> None:
    """Write one self-contained file."""
    path.write_bytes(model.SerializeToString(deterministic=True))


def load_onnx(path: Path, made_by: str) -> ModelProto:
    """Read a file of an earlier stage.

    Raises:
        UserError: it is missing or damaged; names the stage that makes it.
    """
    try:
        return onnx.load(path)
    except FileNotFoundError:
        raise UserError(str(path), "is missing", f"run `dvc repro {made_by}` first") from None
    except DecodeError:
        raise UserError(str(path), "is no ONNX file", f"run `dvc repro -f -s {made_by}` to make it again") from None


def open_session(graph: Path | bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU, of a file or its content; the number of threads is given because sums depend on it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
