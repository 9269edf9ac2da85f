"""Stage `compare`: every variant's evaluation and export to one answer: which model, how good, fit for service or not.

In:   artifacts/{train,threshold,evaluate,export}/ of all variants, artifacts/prepare/ without its arrays
Out:  artifacts/compare/ — leaderboard.json, leaderboard.csv, gates.json, report.html
Run:  python -m components.compare

The winner is chosen by the rule that params declare, on validation or selection; test reports and gates.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.params import load_section, read_params
from components.params.compare import Params
from components.runtime.errors import run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, write_json
from components.runtime.process import die_with_parent


def compare(variants: Sequence[str], params: Params, artifacts: Path = ARTIFACTS) -> dict[str, Any]:
    """Rank, judge and report all variants; returns the content of leaderboard.json.

    Raises:
        UserError: a result is missing or left over, or the rule or a gate needs labels that the data lacks.
    """
    from components.comparing.candidates import load_candidates
    from components.comparing.gates import judge
    from components.comparing.leaderboard import RULES, leaderboard, rank, write_csv
    from components.data.splits import load_manifest
    from components.reporting.data_card import load_card
    from components.reporting.report import render

    ranked = rank(load_candidates(variants, artifacts), params.winner)
    manifest = load_manifest(artifacts / "prepare")
    gates = {candidate.name: judge(candidate, params.gates) for candidate in ranked}
    board = leaderboard(ranked, params.winner, gates)
    with complete_dir(artifacts / "compare") as folder:
        write_json(folder / "leaderboard.json", board)
        write_csv(folder / "leaderboard.csv", board)
        write_json(folder / "gates.json", {n: {k: gate.to_json() for k, gate in of.items()} for n, of in gates.items()})
        card = load_card(manifest, artifacts / "prepare")
        page = render(board, RULES[params.winner].text, gates, ranked, manifest, card)
        (folder / "report.html").write_text(page, encoding="utf-8")
    return board


def main() -> None:
    """Compare all variants of params.yaml."""
    from components.comparing.leaderboard import RULES
    from components.reporting.terminal import print_leaderboard

    die_with_parent()
    raw = read_params()
    params = load_section("compare", raw)
    board = compare(list(raw.get("variants") or {}), params)
    print_leaderboard(board, RULES[params.winner].text, str(ARTIFACTS / "compare" / "report.html"))


if __name__ == "__main__":
    run_main(main)
