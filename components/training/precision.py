"""Precision as a capability of the hardware, never the outcome of a timing."""

from typing import Literal

import torch

# a CPU without these emulates bf16 and was seen to be 20 times slower than float32
_NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")


def resolve_precision(wanted: Literal["auto", "float32", "bf16"], device: torch.device) -> Literal["float32", "bf16"]:
    """`auto` is bf16 only where the device has bf16 arithmetic of its own."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        native = any(capabilities.get(name, False) for name in _NATIVE_BF16)
    return "bf16" if native else "float32"
