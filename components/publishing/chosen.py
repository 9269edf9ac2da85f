"""What of a variant is registered: its exported scorer or a compressed one, each with a threshold of its own."""

from dataclasses import dataclass
from pathlib import Path

from components.params.export import FLOAT32
from components.runtime.outputs import ARTIFACTS


@dataclass(frozen=True)
class Chosen:
    """A variant and, of its scorers, the one that `export.publish` names."""

    variant: str
    method: str = FLOAT32

    @property
    def scorer(self) -> Path:
        """The graph; its card.md lies beside it."""
        return self._compressed / "scorer.onnx" if self.method != FLOAT32 else self._exported / "scorer.onnx"

    @property
    def threshold(self) -> Path:
        """Folder of threshold.json and calibration_scores.npy."""
        return self._compressed if self.method != FLOAT32 else ARTIFACTS / "threshold" / self.variant

    @property
    def folder(self) -> str:
        """Where its model lies in the variant's run, apart from others of the same run."""
        return "model" if self.method == FLOAT32 else f"model-{self.method}"

    @property
    def _exported(self) -> Path:
        return ARTIFACTS / "export" / self.variant

    @property
    def _compressed(self) -> Path:
        return ARTIFACTS / "compress" / self.variant / self.method
