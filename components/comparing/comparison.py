"""Everything that sets candidates beside each other by record, by size, by rule and by seed, and the files it fills."""

import csv
import dataclasses
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.comparing.baselines import Baseline, load_baselines
from components.comparing.candidates import Candidate
from components.comparing.pairs import Pair, compare_pairs
from components.comparing.pareto import Point, points
from components.comparing.records import load_records
from components.comparing.seeds import Luck, SeedRun, load_luck
from components.comparing.sensitivity import Outcome, Standing, outcomes


@dataclass(frozen=True)
class Comparison:
    """Candidates beside each other, in the order of the declared rule."""

    pairs: list[Pair]
    points: list[Point]
    outcomes: list[Outcome]
    """The declared rule first."""
    luck: Luck
    baselines: list[Baseline]
    """The largest area first."""

    @property
    def verdicts(self) -> list[tuple[str, str, dict[str, Pair]]]:
        """The two of each pair, then what each measure says of them."""
        both: dict[tuple[str, str], dict[str, Pair]] = {}
        for pair in self.pairs:
            both.setdefault((pair.first, pair.second), {})[pair.measure] = pair
        return [(*names, by) for names, by in both.items()]

    @property
    def dissenting(self) -> list[Outcome]:
        """Rules that would choose another than the declared one does."""
        return [outcome for outcome in self.outcomes if outcome.winner.variant != self.outcomes[0].winner.variant]

    @property
    def measures(self) -> list[str]:
        """What pairs were compared by."""
        return list(dict.fromkeys(pair.measure for pair in self.pairs))

    def against_others(self, one: str, measure: str) -> dict[str, list[str]]:
        """How `one` fares by a measure after the correction: in words, then the others of which they are true."""
        found: dict[str, list[str]] = {"better than": [], "worse than": [], "not told apart from": []}
        for pair in self.pairs:
            if pair.measure == measure and one in (pair.first, pair.second):
                verdict = (
                    "not told apart from"
                    if pair.better is None
                    else "better than"
                    if pair.better == one
                    else "worse than"
                )
                found[verdict].append(pair.second if pair.first == one else pair.first)
        return {verdict: names for verdict, names in found.items() if names}


def compare_candidates(
    ranked: Sequence[Candidate], baselines: Sequence[str], rule: str, artifacts: Path, seed: int
) -> Comparison:
    """Compare candidates, given best first by `rule`, and the named baselines; `seed` draws resamples.

    Raises:
        UserError: a result is missing or damaged, or candidates were not judged on the same records.
    """
    records = load_records(ranked, artifacts)
    return Comparison(
        pairs=compare_pairs([candidate.name for candidate in ranked], records, seed),
        points=points(ranked),
        outcomes=outcomes(ranked, records, rule, seed),
        luck=load_luck(ranked, artifacts),
        baselines=load_baselines(baselines, ranked[0], artifacts),
    )


def write(comparison: Comparison, trained: Path, folder: Path) -> None:
    """The comparison as tables: pairs, baselines, pareto, rules, seeds, and each variant's losses from `trained`."""
    _write_csv(folder / "pairs.csv", Pair, comparison.pairs)
    against = [baseline.against for baseline in comparison.baselines if baseline.against]
    _write_csv(folder / "baselines.csv", Pair, against)
    _write_csv(folder / "pareto.csv", Point, comparison.points)
    _write_csv(folder / "rules.csv", Standing, [one for outcome in comparison.outcomes for one in outcome.standings])
    _write_csv(folder / "seeds.csv", SeedRun, comparison.luck.runs)
    (folder / "losses").mkdir()
    for point in comparison.points:
        # `dvc plots` takes a folder only where every file in it can be drawn
        shutil.copyfile(trained / point.variant / "history.csv", folder / "losses" / f"{point.variant}.csv")


def _write_csv(path: Path, row: type, rows: Iterable[Any]) -> None:
    """One line per row, its fields as columns; the shortest digits that give a number back exactly."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(row)], lineterminator="\n")
        writer.writeheader()
        for of in rows:
            flat = dataclasses.asdict(of)
            writer.writerow({name: int(value) if isinstance(value, bool) else value for name, value in flat.items()})
