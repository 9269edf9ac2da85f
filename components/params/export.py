"""The section `export:`: the files that leave the factory."""

from pydantic import Field

from components.params import Section


class Params(Section):
    """ONNX and TorchScript."""

    opset: int = Field(20, ge=18, le=23)
    """ONNX operator set; 18 is the lowest that the exporter writes, lower runs on older runtimes."""
