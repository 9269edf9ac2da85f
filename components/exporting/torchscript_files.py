"""TorchScript: the scorer traced, for users who run LibTorch, as an archive that is equal between runs.

Upstream has deprecated TorchScript since torch 2.11; its warning is the one named exception to "warnings are errors",
made here and nowhere else. An archive is a zip of pickles, weights and code. torch adds debug files (absolute paths,
stack traces) and an id derived from them; both are replaced, and torch.jit.load misses neither.
"""

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from components.exporting.scorer import Scorer

ALIGNMENT = 64
"""Bytes; torch maps weights from the file and expects each to start at a multiple of this."""
SERIALIZATION_ID = b"0" * 40


def export_torchscript(scorer: Scorer, example: Tensor, path: Path) -> None:
    """Trace the scorer with raw records `example` (batch, *item) and write the archive; any batch size runs."""
    archive = io.BytesIO()
    with _deprecation_expected():
        # torch's own check runs the trace once more; the parity check does that on the whole test split
        torch.jit.save(torch.jit.trace(scorer, (example,), check_trace=False), archive)
    path.write_bytes(repack(archive.getvalue()))


def load_torchscript(path: Path) -> torch.jit.ScriptModule:
    """Load an archive of our own; TorchScript is code, so never one from elsewhere."""
    with _deprecation_expected():
        return torch.jit.load(path, map_location="cpu")


def repack(archive: bytes) -> bytes:
    """The same module without debug files, with a fixed serialization id and fixed dates, uncompressed and aligned."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            if name.endswith(".debug_pkl"):
                continue
            content = SERIALIZATION_ID if name.endswith("/.data/serialization_id") else source.read(name)
            entry = zipfile.ZipInfo(name)  # dated 1980, the first day of zip
            entry.extra = _padding(packed.tell() + zipfile.sizeFileHeader + len(name.encode()))
            target.writestr(entry, content)
    return packed.getvalue()


def _padding(offset: int) -> bytes:
    """An extra field for a zip header, as torch writes it, that makes the content behind it start aligned."""
    size = -(offset + 4) % ALIGNMENT
    return b"FB" + size.to_bytes(2, "little") + b"Z" * size


@contextmanager
def _deprecation_expected() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", FutureWarning)
        yield
