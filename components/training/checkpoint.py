"""Checkpoints: one file per run, replaced whole after every epoch, never trusted when damaged.

Format: 32 bytes of SHA-256, then a safetensors file whose metadata holds the state as JSON. Nothing in it is code.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from components.runtime.outputs import WORK, complete_file

_DIGEST_BYTES = 32


class Checkpoints:
    """The checkpoint of one variant's run, in `.work/train/VARIANT/KEY/`.

    Args:
        variant: name of the variant.
        key: digest of all that decides the result; a run with another key never reads this one.
    """

    def __init__(self, variant: str, key: str, root: Path = WORK / "train") -> None:
        self.folder = root / variant
        self.path = self.folder / key / "checkpoint"

    def save(self, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        payload = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"state": json.dumps(state)})
        with complete_file(self.path) as temporary:
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The last complete state, or None when there is none or it is damaged, which is told."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != digest:
            print(f"{self.path}: the checkpoint is damaged, training starts from the beginning", flush=True)
            return None
        header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
        return load(payload), json.loads(header["__metadata__"]["state"])

    def forget_others(self) -> None:
        """Remove what runs with other keys left behind."""
        for folder in self.folder.glob("*"):
            if folder != self.path.parent:
                shutil.rmtree(folder)

    def remove(self) -> None:
        """Remove everything, the run has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)
