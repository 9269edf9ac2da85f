"""Stage `compare`: every variant's evaluation and export to one answer: which model, how good, fit for service or not.

In:   artifacts/{train,seeds,threshold,evaluate,export}/ of all variants, artifacts/baseline/ of all baselines,
      artifacts/prepare/ without its arrays
Out:  artifacts/compare/ — leaderboard.json, leaderboard.csv, gates.json, report.html, pareto.svg, losses/V.csv,
      pairs.csv, baselines.csv, pareto.csv, rules.csv, seeds.csv
Run:  python -m components.compare
      python -m components.compare --diff REV    prints what changed against another commit

The winner is chosen by the rule that params declare, on validation or selection; test reports and gates.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.params import load_globals, load_section, read_params
from components.params.compare import Params
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, write_json
from components.runtime.process import die_with_parent, set_threads


def compare(
    variants: Sequence[str],
    params: Params,
    artifacts: Path = ARTIFACTS,
    seed: int = 0,
    baselines: Sequence[str] = (),
) -> dict[str, Any]:
    """Rank, judge and report all variants beside the baselines; returns the content of leaderboard.json.

    `seed` draws resamples.

    Raises:
        UserError: a result is missing or left over, or the rule or a gate needs labels that the data lacks.
    """
    from components.comparing.candidates import load_candidates
    from components.comparing.comparison import compare_candidates, write
    from components.comparing.gates import judge
    from components.comparing.leaderboard import RULES, leaderboard, rank, write_csv
    from components.data.splits import load_manifest
    from components.reporting.comparison_plots import pareto
    from components.reporting.data_card import load_card
    from components.reporting.plots import save
    from components.reporting.report import render

    ranked = rank(load_candidates(variants, artifacts), params.winner)
    manifest = load_manifest(artifacts / "prepare")
    gates = {candidate.name: judge(candidate, params.gates) for candidate in ranked}
    comparison = compare_candidates(ranked, baselines, params.winner, artifacts, seed)
    board = leaderboard(ranked, params.winner, gates, comparison.baselines)
    with complete_dir(artifacts / "compare") as folder:
        write_json(folder / "leaderboard.json", board)
        write_csv(folder / "leaderboard.csv", board)
        write_json(folder / "gates.json", {n: {k: gate.to_json() for k, gate in of.items()} for n, of in gates.items()})
        write(comparison, artifacts / "train", folder)
        save(pareto(comparison.points), folder / "pareto.svg")
        card = load_card(manifest, artifacts / "prepare")
        rule = RULES[params.winner].text
        page = render(board, rule, gates, ranked, manifest, card, comparison, folder / "pareto.svg")
        (folder / "report.html").write_text(page, encoding="utf-8")
    return board


def main() -> None:
    """Compare all variants of params.yaml, or what they are with what they were."""
    die_with_parent()
    match sys.argv[1:]:
        case []:
            _compare_all()
        case ["--diff", revision]:
            _print_changes(revision)
        case _:
            fix = "python -m components.compare, or python -m components.compare --diff REV"
            raise UserError("components.compare", "takes no arguments but --diff and one revision", fix)


def _compare_all() -> None:
    raw = read_params()
    params, numbers = load_section("compare", raw), load_globals(raw)
    set_threads(numbers.threads)
    from components.comparing.leaderboard import RULES
    from components.reporting.terminal import print_leaderboard

    names, baselines = (list(raw.get(key) or {}) for key in ("variants", "baselines"))
    board = compare(names, params, seed=numbers.seed, baselines=baselines)
    print_leaderboard(board, RULES[params.winner].text, str(ARTIFACTS / "compare" / "report.html"))


def _print_changes(revision: str) -> None:
    from components.comparing.changes import changes_since
    from components.reporting.terminal import print_changes

    print_changes(changes_since(revision))


if __name__ == "__main__":
    run_main(main)
