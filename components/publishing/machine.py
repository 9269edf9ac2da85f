"""What of a machine can change a sum: its kind, its processor, and the instructions that kernels are chosen by."""

import platform
import re
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
# numeric libraries have kernels for each of these, which add in another order
_CHOSEN_BY = re.compile(r"sse4_\d|avx\w*|fma|f16c|amx_\w+|asimd\w*|sve\w*|bf16|i8mm")


def describe_machine() -> dict[str, str]:
    """`machine`, `cpu` and `cpu_flags` of the machine that this runs on; what cannot be told is left out."""
    told = {"machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"}
    cpu = {"cpu": _field("model name") or platform.processor(), "cpu_flags": _flags()}
    return told | {name: value for name, value in cpu.items() if value}


def _flags() -> str:
    words = (_field("flags") or _field("Features")).split()
    return " ".join(sorted(word for word in words if _CHOSEN_BY.fullmatch(word)))


def _field(name: str) -> str:
    try:
        text = _CPU_INFO.read_text()
    except OSError:  # no Linux
        return ""
    found = re.search(rf"^{name}\s*: (.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
