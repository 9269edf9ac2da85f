"""How fast a training was: for MLflow and people, never for artifacts/, whose bytes must not depend on it.

`.work/speed/VARIANT.json` names the history it belongs to, so that another run's speed is not taken for this one's.
"""

import hashlib
import statistics
import time
from pathlib import Path

from components.runtime.outputs import WORK, complete_file, write_json
from components.training.trainer import Epoch


class Stopwatch:
    """Runs from its making; hears every epoch."""

    def __init__(self, device: str) -> None:
        self.device, self.started = device, time.perf_counter()
        self.speeds: list[float] = []

    def hear(self, epoch: Epoch) -> None:
        """Note an epoch's speed."""
        self.speeds.append(epoch.records_per_second)

    def write(self, variant: str, history: Path) -> None:
        """Write the note for the history.csv that this run left."""
        note = {
            "history": hashlib.sha256(history.read_bytes()).hexdigest(),
            "device": self.device,
            "seconds": time.perf_counter() - self.started,
            "records_per_second": statistics.median(self.speeds) if self.speeds else 0.0,
        }
        with complete_file(WORK / "speed" / f"{variant}.json") as temporary:
            write_json(temporary, note)
