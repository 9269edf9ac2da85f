"""Denoising: what the model makes of corrupted records, for every corruption that suits them at three strengths.

Corruptions are those of `components.models.denoising`; any model is asked, whatever it was trained on. PSNR and SSIM
compare with the clean record, before (in) and after (out) the model; a model that only copies gains nothing.
Paper of SSIM: Wang et al., IEEE Transactions on Image Processing 13, 2004.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from components.analyses import AnalysisEntry, AnalysisParams, NotApplicableError
from components.analysing.outcome import Outcome, Picture, Table
from components.analysing.subject import Subject, in_batches
from components.comparing.wording import signed
from components.data.item import Item
from components.models.denoising import CORRUPTIONS, Denoising
from components.models.denoising import Params as Corruption
from components.objectives.ssim import ssim
from components.reporting.analysis_plots import Axis, curves, rows_of_images
from components.scoring.metrics import record_errors

_SHOWN = 8  # images in the picture
_STEPS = ("weak", "medium", "strong")
_MEDIUM = 2  # strengths done when the medium one is


class Params(AnalysisParams):
    """Three strengths, the weakest first."""

    strengths: list[Annotated[float, Field(gt=0, lt=1)]] = Field([0.1, 0.3, 0.5], min_length=3, max_length=3)
    """Of all corruptions but blur: standard deviation in scaled units (gaussian), share of the values (the others)."""
    blur_sigmas: list[Annotated[float, Field(gt=0, le=100)]] = Field([0.5, 1.0, 2.0], min_length=3, max_length=3)
    """Of blur: standard deviation in pixels."""
    records: int = Field(2000, ge=1, le=100_000)
    """Normal test records, evenly spaced."""


def run(params: Params, subject: Subject) -> Outcome:
    """Corrupt the normal test records and let the model undo it.

    Raises:
        NotApplicableError: there are none.
    """
    x, item = subject.usual.spaced(params.records).x, subject.model.item
    if not len(x):
        raise NotApplicableError("there are no normal test records")
    peak = 1.0 if item.unit_range else float(x.max() - x.min()) or 1.0
    rows: list[tuple[Any, ...]] = []
    gains: dict[str, list[float]] = {}
    shown: dict[str, tuple[Tensor, Tensor]] = {}
    for kind, strength, corruption in _corruptions(params, item):
        torch.manual_seed(subject.seed)  # the same noise at every strength
        corrupted = in_batches(Denoising(subject.model, corruption).corrupt, x)
        restored = in_batches(lambda part: subject.model(part)[0], corrupted)
        before, after = (_psnr(x, values, peak) for values in (corrupted, restored))
        alike = [float(ssim(values, x).mean()) for values in (corrupted, restored)] if item.is_image else []
        gains.setdefault(kind, []).append(after - before)
        rows.append((kind, strength, before, after, after - before, *alike))
        if item.is_image and len(gains[kind]) == _MEDIUM:
            shown[kind] = (corrupted[:_SHOWN], restored[:_SHOWN])
    headings = ("corruption", "strength", "psnr_in", "psnr_out", "gain_db", "ssim_in", "ssim_out")
    return _told(Table("Means over normal test records", headings[: len(rows[0])], rows), gains, shown, x)


def _corruptions(params: Params, item: Item) -> Iterator[tuple[str, float, Corruption]]:
    """Every kind that suits the records, with each strength, and both as the corruption's own params."""
    for kind, entry in CORRUPTIONS.items():
        if (entry.unit_range and not item.unit_range) or (entry.images and not item.is_image):
            continue
        if entry.images:
            yield from ((kind, sigma, Corruption(corruption=[kind], blur_sigma=sigma)) for sigma in params.blur_sigmas)
        else:
            yield from ((kind, share, Corruption(corruption=[kind], strength=share)) for share in params.strengths)


def _psnr(x: Tensor, values: Tensor, peak: float) -> float:
    """Mean over records, in decibel. Shapes: (record, *item) twice."""
    return float(record_errors(x.flatten(1).numpy(), values.flatten(1).numpy(), peak, False)["psnr"].mean())


def _told(table: Table, gains: dict[str, list[float]], shown: dict[str, tuple[Tensor, Tensor]], x: Tensor) -> Outcome:
    told = "; ".join(f"{kind} {', '.join(map(signed, of))}" for kind, of in gains.items())
    figure = curves(
        "Gain by strength of the corruption",
        Axis("strength: 1 weak, 2 medium, 3 strong", counts=True),
        Axis("PSNR out minus in, dB"),
        {kind: ([1, 2, 3], of) for kind, of in gains.items()},
    )
    pictures = {
        "denoising_gain": Picture(figure, "Above 0 the model removes more than it loses.", f"Gain in dB: {told}.")
    }
    if shown:
        names = ["clean", *(name for kind in shown for name in (kind, "restored"))]
        lines = [x[:_SHOWN], *(line for pair in shown.values() for line in pair)]
        pictures["denoising_images"] = Picture(
            rows_of_images("Corrupted, and what the model makes of it", names, torch.stack(lines).numpy()),
            "At medium strength.",
            f"{len(lines[0])} clean images, then corrupted ones above restored ones: {', '.join(gains)}.",
        )
    return Outcome(
        answer=f"Gain in dB for {', '.join(_STEPS)} corruption: {told}.",
        numbers={
            f"{kind}_gain_db_{step}": gain for kind, of in gains.items() for step, gain in zip(_STEPS, of, strict=True)
        },
        tables={"denoising": table},
        pictures=pictures,
    )


ANALYSIS = AnalysisEntry(run, Params, "Denoising", "How much of a corruption does the model undo?")
