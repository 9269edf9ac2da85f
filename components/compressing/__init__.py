"""Ways to make a scorer smaller or faster, one file each; every one of them changes scores, so thresholds are new.

A method turns what was exported into another whole graph, from raw records to decisions. Only the network in it is
another: score, p-value and decision stay in float32, and scores keep what they were fitted to. The stage then fits the
threshold again, to scores that the new graph itself gives (`components.compressing.recalibrating`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto
from pydantic import Field

from components.data.splits import Manifest
from components.params import Options, validate
from components.runtime.registry import Registry
from components.scoring.conformal import Calibration
from components.scoring.detector import Detector
from components.training.weights import count

_PARTS = frozenset({"assembling", "judging", "network_part", "recalibrating", "retraining"})
"""Files of this folder that are no method."""


class MethodParams(Options):
    """What a user may set of every method: how far the result may fall short of float32 and still be published."""

    max_auroc_loss: float = Field(0.002, ge=0, le=1)
    """AUROC on test that may be lost; not asked where test holds no labelled anomalies."""
    min_rank_correlation: float = Field(0.999, ge=-1, le=1)
    """Spearman's, of the scores of test records with those in float32."""
    max_batch_flips: float = Field(0.005, ge=0, le=1)
    """Share of test records that may get another decision alone than among others."""


@dataclass(frozen=True)
class Original:
    """What there is to compress: one variant, trained, calibrated and exported."""

    variant: str
    config: dict[str, Any]
    """artifacts/train/V/config.json."""
    manifest: Manifest
    prepared: Path
    """artifacts/prepare."""
    graph: ModelProto
    """Its exported scorer; a method changes copies only."""
    detector: Detector
    """The same in torch."""
    calibration: Calibration
    opset: int
    seed: int

    @property
    def parameters(self) -> int:
        """Learned numbers of its network."""
        return count(self.detector.model)


@dataclass(frozen=True)
class Compressed:
    """A scorer whose threshold is still the original's."""

    graph: ModelProto
    parameters: int
    """Numbers that were learned and are not zero."""
    detector: Detector | None = None
    """The new network in torch, where there is one; the graph is then proven equal to it."""


@dataclass(frozen=True)
class MethodEntry:
    """One row of the registry."""

    compress: Callable[[Original, Any], Compressed]
    params: type[MethodParams]
    description: str
    trains: bool = False
    """Takes gradient steps, so it does not apply to models fitted in closed form."""


_REGISTRY = Registry(__name__, "METHOD", "method", _PARTS)


def known() -> list[str]:
    """Names of all methods, from the listing of this folder."""
    return _REGISTRY.known()


def find(name: str) -> MethodEntry:
    """The registry entry of a method; imports its file only.

    Raises:
        UserError: no such method; names the nearest one.
    """
    return _REGISTRY.find(name, "compress.methods")


def resolve(methods: Mapping[str, Any]) -> dict[str, MethodParams]:
    """Each named method with its params, defaults filled in.

    Raises:
        UserError: an unknown method or key, or a value out of its range.
    """
    return {name: validate(find(name).params, given, f"compress.methods.{name}") for name, given in methods.items()}
