"""Checks of the data before training: what is wrong, how much, and what to do; one row of a table each.

A check answers None where it does not apply, which is never shown as passed. Params say how a fault is taken:
`prepare.checks.NAME` is error, warning or off. To add a check, write a function from `Facts` to `Answer`, add its row
to `CHECKS` and its severity to `components.params.prepare.SEVERITIES`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from components.data.splits import SPLITS, Manifest
from components.params.prepare import Limits, Severity
from components.preparing.content import Observed
from components.preparing.drift import additions, breaks, departures
from components.preparing.previous import Previous
from components.runtime.errors import UserError

Verdict = Literal["ok", "warning", "not_applicable", "off"]
NAMED = 10
"""Columns or files that a finding names; the others are counted."""


@dataclass(frozen=True)
class Facts:
    """What the checks look at."""

    manifest: Manifest
    observed: Observed
    previous: Previous | None
    """None where the data has no predecessor."""
    content: np.ndarray
    """(record,) number of the content of every raw record: equal records share one, and none is left out."""
    split: np.ndarray
    """(record,) index of the split of every raw record, negative where it was left out."""
    limits: Limits


class Answer(NamedTuple):
    """What a check saw."""

    faulty: bool
    value: float
    """The number that decided it."""
    found: str
    """The number in words, with what it is a number of."""


@dataclass(frozen=True)
class Finding:
    """One entry of validation.json."""

    code: str
    title: str
    severity: Severity
    verdict: Verdict
    value: float | None
    found: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    code: str
    title: str
    """States the fault, so that a verdict of warning reads as a sentence."""
    remedy: str
    ask: Callable[[Facts], Answer | None]


def schema(facts: Facts) -> Answer | None:
    """Parts of the schema that the models and callers of yesterday rely on and that are gone or changed."""
    if facts.previous is None:
        return None
    return _any(breaks(facts.previous, facts.manifest), "nothing is gone or changed")


def added(facts: Facts) -> Answer | None:
    """Columns and classes that were not there before the refresh."""
    if facts.previous is None:
        return None
    return _any(additions(facts.previous, facts.manifest), "no column or class is new")


def ranges(facts: Facts) -> Answer | None:
    """Columns with values outside of the declared range, or far outside of the range before the refresh."""
    before = facts.previous.column_ranges if facts.previous else {}
    if facts.observed.outside is None and not before:
        return None
    outside = facts.observed.outside or {}
    declared = [f"{count} of '{name}' leave the declared range" for name, count in sorted(outside.items()) if count]
    moved = departures(before, facts.manifest.column_ranges, facts.limits.range_margin)
    return _any([*declared, *moved], "every column keeps to its range")


def missing(facts: Facts) -> Answer | None:
    """The largest share of empty cells in a column."""
    shares = facts.observed.missing
    if not shares:
        return None
    limit = facts.limits.missing
    above = [f"{100 * share:.1f} % of '{name}'" for name, share in sorted(shares.items()) if share > limit]
    worst = max(shares, key=lambda name: (shares[name], name))
    found = listed(above) if above else f"at most {100 * shares[worst]:.1f} %, in '{worst}'"
    return Answer(bool(above), shares[worst], f"{found}; allowed are {100 * limit:g} %")


def duplicates(facts: Facts) -> Answer:
    """The share of records whose content occurred before."""
    total = len(facts.content)
    return _share(total - int(facts.content.max()) - 1, total, "records repeat another", facts.limits.duplicates)


def duplicates_across(facts: Facts) -> Answer:
    """Splits too many that equal records stand in; always 0 where records are dealt by content."""
    kept = facts.split >= 0
    content, split = facts.content[kept], facts.split[kept]
    across = len(np.unique(content * len(SPLITS) + split)) - len(np.unique(content))
    return Answer(across > 0, across, f"{across} times the content of one split stands in another")


def near_constant(facts: Facts) -> Answer | None:
    """The share of images that show (almost) one value."""
    flat = facts.observed.near_constant
    return None if flat is None else _share(flat, len(facts.split), "images", facts.limits.near_constant)


def label_balance(facts: Facts) -> Answer | None:
    """The share of normal records, and classes too small to say something about."""
    manifest, limits = facts.manifest, facts.limits
    if not manifest.classes:
        return None
    counts = {name: sum(of[name] for of in manifest.counts.values()) for name in manifest.classes}
    share = sum(counts[name] for name in manifest.normal_classes) / sum(counts.values())
    small = [f"'{name}' has {n} records" for name, n in counts.items() if 0 < n < limits.class_records]
    found = f"{100 * share:.1f} % of the records are normal"
    faults = [found] if share < limits.normal_share else []
    return Answer(bool(faults or small), share, "; ".join(filter(None, [found, listed(small)])))


def corrupt_files(facts: Facts) -> Answer:
    """The number of files that could not be read and were left out."""
    bad = facts.observed.rejected
    names = f": {listed(sorted(bad))}" if bad else ""
    return Answer(bool(bad), len(bad), f"{len(bad)} of {facts.observed.files} files{names}")


CHECKS = (
    Check(
        "schema",
        "The data is no longer what it was: a part of it is gone or of another kind",
        "bring the source back to its old form, or name the new one (prepare.columns) and train anew",
        schema,
    ),
    Check(
        "additions", "The data holds columns or classes that are new", "decide whether a model should see them", added
    ),
    Check("ranges", "Values leave the range they should keep", "look for a broken sensor or another unit", ranges),
    Check("missing", "Columns are mostly empty", "drop the column, or find out why it is empty", missing),
    Check(
        "duplicates", "Many records repeat others", "remove the repetitions: they count more than the rest", duplicates
    ),
    Check(
        "duplicates_across",
        "The same content stands in more than one split, so test knows what training saw",
        "remove the repetitions, or deal by content instead of by group",
        duplicates_across,
    ),
    Check("near_constant", "Images show nothing but one value", "remove them, or mend the camera", near_constant),
    Check(
        "label_balance",
        "Classes are too small or few records are normal",
        "add records, or look at prepare.normal_classes",
        label_balance,
    ),
    Check(
        "corrupt_files", "Files could not be read and were left out", "fetch them again, or remove them", corrupt_files
    ),
)


def validate(facts: Facts, severities: Mapping[str, Severity]) -> list[Finding]:
    """Every check's entry, in the order of the table.

    Raises:
        UserError: the first fault that params call an error.
    """
    findings = [_ask(check, facts, severities[check.code]) for check in CHECKS]
    for finding in findings:
        if finding.severity == "error" and finding.verdict == "warning":
            what = f"{finding.title[0].lower()}{finding.title[1:]} ({finding.found})"
            fix = f"{finding.remedy}; if it is meant, set prepare.checks.{finding.code}: warning"
            raise UserError(f"prepare.checks.{finding.code}", what, fix)
    return findings


def numbered(hashes: np.ndarray) -> np.ndarray:
    """Hashes (record, 2) uint64 -> (record,) int64 numbers from 0 on, one for each hash that is different."""
    pairs = np.ascontiguousarray(hashes).view([("high", "u8"), ("low", "u8")])[:, 0]
    return np.unique(pairs, return_inverse=True)[1]


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _ask(check: Check, facts: Facts, severity: Severity) -> Finding:
    if severity == "off":
        return Finding(check.code, check.title, severity, "off", None, "", check.remedy)
    answer = check.ask(facts)
    if answer is None:
        return Finding(check.code, check.title, severity, "not_applicable", None, "", check.remedy)
    verdict: Verdict = "warning" if answer.faulty else "ok"
    return Finding(check.code, check.title, severity, verdict, answer.value, answer.found, check.remedy)


def _any(faults: list[str], otherwise: str) -> Answer:
    return Answer(bool(faults), len(faults), listed(faults) or otherwise)


def _share(count: int, total: int, what: str, limit: float) -> Answer:
    share = count / total
    return Answer(share > limit, share, f"{count} of {total} {what}; allowed are {100 * limit:g} %")
