"""GPU slots: each running stage has device numbers of its own, handed out through CUDA_VISIBLE_DEVICES."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from components.params import load_globals


def visible_devices() -> list[str]:
    """The GPUs that this flow may use, as CUDA_VISIBLE_DEVICES or `nvidia-smi -L` name them."""
    if os.environ.get("HOURGLASS_DEVICE") == "cpu":
        return []
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        # CUDA itself stops reading at the first entry that is no device, such as -1
        names = [name.strip() for name in given.split(",")]
        return names[: next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []  # no driver, or one that does not answer: stages say so themselves when a GPU was asked for
    return re.findall(r"^GPU (\d+):", listing, re.MULTILINE)


def default_jobs() -> int:
    """Stages that this machine runs side by side when each has params.yaml's `threads`."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // load_globals().threads)


class Slots:
    """A pool of `per_gpu` places on each device; without devices there is nothing to hand out and nobody waits."""

    def __init__(self, devices: Sequence[str], per_gpu: int = 1) -> None:
        self._free: SimpleQueue[str] = SimpleQueue()
        self.total = len(devices) * per_gpu
        # all first places before any second one: stages spread over the devices before they share one
        for device in list(devices) * per_gpu:
            self._free.put(device)

    @contextmanager
    def take(self) -> Iterator[dict[str, str]]:
        """The environment of one child, on a device that nobody else was given; waits until there is one."""
        if not self.total:
            yield {}
            return
        device = self._free.get()
        try:
            # nvidia-smi counts along the bus, CUDA by default from the fastest: make both mean the same device
            yield {"CUDA_VISIBLE_DEVICES": device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        finally:
            self._free.put(device)
