"""report.html: one page that needs no network and no script, and opens with the answer.

It is data poured into `templates/report.html.j2`; Jinja escapes every text, and figures are cleaned before they are
inlined. A content security policy in the page forbids whatever might slip through.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from components.comparing.candidates import Candidate
from components.comparing.comparison import Comparison
from components.comparing.gates import Gate
from components.comparing.sensitivity import RESAMPLES
from components.data.splits import SPLITS, Manifest
from components.reporting.answer import answer
from components.reporting.data_card import DataCard
from components.reporting.figures import inline
from components.reporting.pages import environment
from components.scoring.conformal import promise

FIGURE_BUDGET = 4_000_000
"""Characters of figures of data and variants in a page of at most 5 MiB; the winner's come first."""

MOST_PAIRS = 10
"""A longer table of pairs is folded away until someone asks for it."""

CAPTIONS = {
    "reconstructions": ("Reconstructions", "What is lost between test records and their reconstructions."),
    "columns": ("Columns that explain alarms", "What each column adds to the scores of test records."),
    "losses": ("Training", "The weights of the best epoch on validation were kept."),
    "errors": ("Scores", "Each kind as shares of its own number; right of the dashed line lie the alarms."),
    "validity": (
        "False alarms, promised and realised",
        "At every alpha at once: a promise that holds stays inside the band from end to end in 95 % of all cases.",
    ),
    "p_values": (
        "p-values",
        "Of normal test records; they are uniform where these are like the calibration records.",
    ),
    "anomalies": (
        "Strangest records",
        "The test records with the largest scores, true anomalies or not, and what in them makes the score.",
    ),
    "mistakes": (
        "False alarms and misses",
        "Normal records that alarm, the strangest first, then anomalies that do not, the least strange first.",
    ),
    "codes": (
        "Codes",
        "Codes of test records along their two directions of largest variance, class names at medians; resting on a "
        "mark tells which record it is.",
    ),
}
"""Title and caption by file name, in the order of the page; a figure that is not named here comes last."""

GATES = {
    "beats_pca": "Beats PCA",
    "false_alarm_rate": "False alarms",
    "export_parity": "Export parity",
    "min_auroc": "AUROC",
}
"""Headings of the gates."""

MEASURES = (
    ("mse", "Squared error"),
    ("l1", "Absolute error"),
    ("huber", "Huber"),
    ("bce", "Cross-entropy"),
    ("psnr", "PSNR, dB"),
)
"""Reconstruction metrics, each with a `pca_` and sometimes an `untrained_` twin."""

RANKINGS = (
    ("auroc", "AUROC"),
    ("average_precision", "Average precision"),
    ("fpr_at_95_tpr", "False positives at 95 % true positives"),
    ("detection_rate", "Detected at the threshold"),
)
"""How well scores tell anomalous from normal records."""

_SHOWN_ELSEWHERE = {
    "alpha", "threshold", "upper_95", "latent_dim", "parameters", "normal_records", "anomalous_records",
    "false_alarm", "false_alarm_rate", "false_alarms", "false_alarm_excess_p", "false_alarm_deficit_p",
    "training_rule_false_alarm_rate", "validity_p", "exchangeability_p", "mse_ratio_to_pca", "validation_mse",
    "validation_mse_ratio_to_pca", "selection_auroc",
}  # fmt: skip
_CONFIG_TOLD_ELSEWHERE = ("variant", "best_epoch", "data_digest", "seed", "item.", "parameters")

_BANNER = "<!-- banner -->"


@dataclass(frozen=True)
class Figure:
    """A figure of one variant; `svg` is None where the page has no room for it."""

    title: str
    caption: str
    path: str
    svg: Markup | None


def render(
    board: Mapping[str, Any], rule: str, gates: Mapping[str, Mapping[str, Gate]], ranked: Sequence[Candidate],
    manifest: Manifest, card: DataCard, comparison: Comparison, pareto: Path,
) -> str:  # fmt: skip
    """The page.

    Args:
        board: leaderboard.json.
        rule: what the winner's rule prefers, in words.
        gates: the verdicts by variant.
        ranked: all candidates, best first.
        manifest: of the data they share.
        card: what else there is to say about it.
        comparison: the candidates beside each other.
        pareto: the figure of what their errors cost.
    """
    headline, lede = answer(ranked[0], board["rule"])
    return _environment().get_template("report.html.j2").render(
        board=board,
        rule=rule,
        gates=gates,
        ranked=ranked,
        winner=ranked[0],
        headline=headline,
        lede=lede,
        manifest=manifest,
        card=card,
        comparison=comparison,
        draws=RESAMPLES,
        folded_beyond=MOST_PAIRS,
        pareto=inline(pareto, "comparison.pareto.", "Squared error on test over code size and over parameters."),
        splits=SPLITS,
        figures=_figures(ranked, FIGURE_BUDGET - len(card.examples)),
        chart=_ratio_chart(ranked),
        told_elsewhere=_CONFIG_TOLD_ELSEWHERE,
        titles=GATES,
        measures=MEASURES,
        rankings=RANKINGS,
    )  # fmt: skip


def with_banner(page: str, text: str) -> str:
    """A copy of the page that opens with one more line, e.g. what registration made of the winner."""
    return page.replace(_BANNER, f'<p class="banner" role="status">{escape(text)}</p>', 1)


def _ratio_chart(ranked: Sequence[Candidate]) -> dict[str, Any]:
    """Where intervals and PCA's line stand on a common axis of 100 units."""
    ends = [candidate.metrics[f"mse_ratio_to_pca{end}"] for candidate in ranked for end in ("_low", "_high")]
    start, stop = min(*ends, 1), max(*ends, 1)
    unit = 94 / ((stop - start) or 1)

    def place(value: float) -> float:
        return round(3 + (value - start) * unit, 1)

    def points(candidate: Candidate) -> tuple[float, ...]:
        return tuple(place(candidate.metrics[f"mse_ratio_to_pca{end}"]) for end in ("_low", "", "_high"))

    return {"pca": place(1), "rows": {candidate.name: points(candidate) for candidate in ranked}}


def _figures(ranked: Sequence[Candidate], room: int) -> dict[str, list[Figure]]:
    figures: dict[str, list[Figure]] = {}
    order = list(CAPTIONS)
    for candidate in ranked:
        figures[candidate.name] = []
        for path in sorted(candidate.figures, key=lambda p: (order.index(p.stem) if p.stem in order else 99, p.stem)):
            title, caption = CAPTIONS.get(path.stem, (path.stem.replace("_", " ").capitalize(), ""))
            svg = inline(path, f"{candidate.name}.{path.stem}.", f"{title} of {candidate.name}. {caption}".strip())
            fits = len(svg) <= room
            room -= len(svg) if fits else 0
            figures[candidate.name].append(Figure(title, caption, str(path), svg if fits else None))
    return figures


def _others(metrics: Mapping[str, Any]) -> list[str]:
    """Metrics that the page shows nowhere else: what a model measures of its own speciality."""
    shown = _SHOWN_ELSEWHERE | {name for name, _ in (*MEASURES, *RANKINGS)}
    stems = {name: name.removesuffix("_low").removesuffix("_high") for name in metrics}
    stems = {name: stem.removeprefix("pca_").removeprefix("untrained_") for name, stem in stems.items()}
    return sorted(name for name, stem in stems.items() if stem not in shown)


def _pairs(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested mapping as (dotted key, text)."""
    for key, value in sorted(config.items()):
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{prefix}{key}.")
        elif value is not None:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).strip("[]")


def _environment() -> Environment:
    made = environment()
    made.filters |= {"pairs": _pairs, "others": _others}
    made.globals["promise"] = promise
    return made
