"""The section `export:`: the files that leave the factory."""

from typing import Literal

from pydantic import Field

from components.params import Section

FLOAT32 = "float32"
"""The exported scorer itself; all other values of `publish` are methods of `compress`."""
Publish = Literal["float32", "int8_static", "int8_dynamic", "pruned", "student"]


class Params(Section):
    """ONNX and TorchScript."""

    opset: int = Field(20, ge=18, le=23)
    """ONNX operator set; 18 is the lowest that the exporter writes, lower runs on older runtimes."""
    publish: Publish = "float32"
    """What is registered of the winner: its exported scorer (float32), or the one that this method of `compress` made,
    if it holds the limits that the method's params set."""
