"""Proves that the winner is chosen by the declared rule and never on test, that gates say what they found, and that
results which params.yaml does not name are refused. Candidates are made up, so that every rule meets its edge.
"""

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import run
from fabricated import fabricate, metrics, pca_metrics

from components.compare import compare
from components.comparing.candidates import FOLDERS
from components.params.compare import Gates, Params
from components.runtime.errors import UserError


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("artifacts")


def compared(artifacts: Path, rule: str = "mse_ratio_to_pca", **numbers: dict[str, Any]) -> dict[str, Any]:
    fabricate(artifacts, numbers)
    return compare(list(numbers), Params(winner=rule), artifacts)


def gate(artifacts: Path, name: str, gates: Gates | None = None, **changed: Any) -> dict[str, Any]:
    fabricate(artifacts, {"net": metrics(0.8, **changed)})
    compare(["net"], Params(gates=gates or Gates()), artifacts)
    return json.loads((artifacts / "compare" / "gates.json").read_text())["net"][name]


def files(artifacts: Path) -> dict[str, bytes]:
    """All that compare wrote, by path in its folder."""
    folder = artifacts / "compare"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ranks(board: dict[str, Any]) -> list[str]:
    return sorted(board["rows"], key=lambda name: board["rows"][name]["rank"])


def test_the_winner_is_best_on_validation_whatever_test_says(artifacts: Path) -> None:
    board = compared(
        artifacts,
        flashy=metrics(0.5, validation_mse_ratio_to_pca=0.81, auroc=0.99, selection_auroc=0.99),
        steady=metrics(0.9, validation_mse_ratio_to_pca=0.80),
        pca=pca_metrics(),
    )
    assert board["winner"] == "steady"
    assert ranks(board) == ["steady", "flashy", "pca"]
    assert (board["rule"], board["candidates"]) == ("mse_ratio_to_pca", 3)
    assert (board["export"], board["eligible"]) == ("artifacts/export/steady", True)


def test_auroc_is_taken_from_selection(artifacts: Path) -> None:
    board = compared(
        artifacts,
        rule="auroc",
        flashy=metrics(0.5, auroc=0.99, selection_auroc=0.90),
        steady=metrics(0.9, auroc=0.90, selection_auroc=0.95),
    )
    assert ranks(board) == ["steady", "flashy"]


@pytest.mark.parametrize("rule", ["mse_ratio_to_pca", "auroc"])
def test_ties_go_to_the_simpler_model(artifacts: Path, rule: str) -> None:
    close = {"validation_mse_ratio_to_pca": 0.8, "selection_auroc": 0.95 + 1e-13}
    board = compared(
        artifacts, rule=rule,
        large=metrics(0.7, parameters=9_000, **close),
        small=metrics(0.8, parameters=500, **{**close, "selection_auroc": 0.95}),
        medium=metrics(0.6, parameters=700, **close),
    )  # fmt: skip
    assert ranks(board) == ["small", "medium", "large"]


def test_auroc_without_selection_records_is_the_users_to_mend(artifacts: Path) -> None:
    numbers = {name: value for name, value in metrics(0.8).items() if "auroc" not in name}
    with pytest.raises(UserError, match=r"^compare\.winner: 'auroc' needs normal and anomalous records in the split"):
        compared(artifacts, rule="auroc", net=numbers)
    assert not (artifacts / "compare").exists()


def test_pca_may_win_but_is_not_promoted(artifacts: Path) -> None:
    board = compared(artifacts, net=metrics(1.3), pca=pca_metrics())
    assert (board["winner"], board["eligible"]) == ("pca", False)
    assert board["reasons"] == ["no model beats PCA: the winner is PCA itself"]
    gates = json.loads((artifacts / "compare" / "gates.json").read_text())
    assert gates["pca"]["beats_pca"]["verdict"] == "not_applicable"
    assert gates["net"]["beats_pca"]["verdict"] == "fail"


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [(0.7, 0.8, 0.9, "pass"), (0.9, 0.97, 1.04, "warning"), (0.9, 1.0, 1.1, "fail"), (1.1, 1.2, 1.3, "fail")],
)
def test_beating_pca_needs_the_point_and_says_when_the_interval_does_not_follow(
    artifacts: Path, low: float, value: float, high: float, verdict: str
) -> None:
    ratios = {"mse_ratio_to_pca_low": low, "mse_ratio_to_pca": value, "mse_ratio_to_pca_high": high}
    found = gate(artifacts, "beats_pca", **ratios)
    assert (found["verdict"], found["value"], found["limit"]) == (verdict, value, 1)
    assert f"(95 % interval {low:.3f} to {high:.3f})" in found["text"]


@pytest.mark.parametrize(
    ("excess", "deficit", "verdict", "says"),
    [
        (0.049, 0.97, "fail", "significantly more (p = 0.049)"),
        (0.051, 0.97, "pass", "4.4 % (95 % interval 2.0 % to 8.2 %), promised 5 %"),
        (0.97, 0.051, "pass", "9 of 203 normal test records"),
        (0.97, 0.049, "warning", "significantly fewer (p = 0.049)"),
    ],
)
def test_false_alarms_fail_only_above_the_promise(
    artifacts: Path, excess: float, deficit: float, verdict: str, says: str
) -> None:
    found = gate(artifacts, "false_alarm_rate", false_alarm_excess_p=excess, false_alarm_deficit_p=deficit)
    assert (found["verdict"], found["limit"]) == (verdict, 0.05)
    assert says in found["text"]


def test_a_failed_gate_bars_promotion_and_is_the_reason(artifacts: Path) -> None:
    board = compared(artifacts, net=metrics(0.8, false_alarm_excess_p=0.001))
    assert (board["winner"], board["eligible"]) == ("net", False)
    assert [reason.partition(":")[2] for reason in board["reasons"]] == [" significantly more (p = 0.001)"]


def test_parity_is_the_exports_own_verdict(artifacts: Path) -> None:
    assert gate(artifacts, "export_parity")["verdict"] == "pass"
    path = artifacts / "export" / "net" / "parity.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "passed": False}))
    assert not compare(["net"], Params(), artifacts)["eligible"]


def test_smallest_auroc_is_a_gate_only_where_it_is_set(artifacts: Path) -> None:
    assert gate(artifacts, "min_auroc", Gates(min_auroc=0.96))["verdict"] == "pass"
    assert gate(artifacts, "min_auroc", Gates(min_auroc=0.97))["verdict"] == "fail"
    with pytest.raises(KeyError):
        gate(artifacts, "min_auroc")
    fabricate(artifacts, {"net": {name: value for name, value in metrics(0.8).items() if "auroc" not in name}})
    with pytest.raises(UserError, match=r"compare\.gates\.min_auroc: .* no labelled anomalies .*; set it to null"):
        compare(["net"], Params(gates=Gates(min_auroc=0.9)), artifacts)


@pytest.mark.parametrize("stage", FOLDERS)
def test_leftovers_are_refused_with_the_command_that_removes_them(artifacts: Path, stage: str) -> None:
    fabricate(artifacts, {"net": metrics(0.8), "old": metrics(0.5)})
    for other in set(FOLDERS) - {stage}:
        shutil.rmtree(artifacts / other / "old")
    with pytest.raises(UserError, match=f"artifacts/{stage}/old: is left over .* `python -m flows.running.prune`"):
        compare(["net"], Params(), artifacts)


@pytest.mark.parametrize("stage", FOLDERS)
def test_a_missing_variant_is_named_with_the_stage_that_makes_it(artifacts: Path, stage: str) -> None:
    fabricate(artifacts, {"net": metrics(0.8), "late": metrics(0.5)})
    shutil.rmtree(artifacts / stage / "late")
    with pytest.raises(UserError, match=rf"artifacts/{stage}/late/.*\.json: is missing; run `dvc repro {stage}@late`"):
        compare(["net", "late"], Params(), artifacts)


def test_no_variants_at_all_is_said_so(artifacts: Path) -> None:
    with pytest.raises(UserError, match="variants: is empty"):
        compare([], Params(), artifacts)


def test_the_table_is_the_leaderboard_in_order(artifacts: Path) -> None:
    board = compared(artifacts, pca=pca_metrics(), net=metrics(0.8))
    assert json.loads((artifacts / "compare" / "leaderboard.json").read_text()) == board
    with (artifacts / "compare" / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["net", "pca"]
    for row in rows:
        expected = {name: str(value) for name, value in board["rows"][row.pop("variant")].items()}
        assert row == {**dict.fromkeys(row, ""), "kind": "variant", **expected}


def test_equal_inputs_give_equal_bytes_in_any_order_of_variants(artifacts: Path) -> None:
    numbers = {"b": metrics(0.8), "a": metrics(0.8), "pca": pca_metrics()}
    fabricate(artifacts, numbers)
    written = []
    for order in (["a", "b", "pca"], ["pca", "b", "a"]):
        compare(order, Params(), artifacts)
        written.append(files(artifacts))
    assert written[0] == written[1]
    tables = {
        "baselines.csv",
        "leaderboard.csv",
        "pairs.csv",
        "pareto.csv",
        "rules.csv",
        "seeds.csv",
        *(f"losses/{v}.csv" for v in numbers),
    }
    assert set(written[0]) == {*tables, "leaderboard.json", "gates.json", "report.html", "pareto.svg"}


def test_the_stage_on_real_results(checkout: Path) -> None:
    """Prints the answer; then, with a leftover, ends with one line and leaves the former result alone."""
    stage = (sys.executable, "-m", "components.compare")
    before = files(checkout / "artifacts")
    done = run(*stage, cwd=checkout)
    assert done.returncode == 0, done.stderr
    board = json.loads(before["leaderboard.json"])
    assert f"winner: {board['winner']}, of 2 candidates" in done.stdout
    (checkout / "artifacts" / "evaluate" / "gone").mkdir()
    done = run(*stage, cwd=checkout)
    assert done.returncode == 2
    assert done.stderr.startswith("error: artifacts/evaluate/gone: is left over")
    assert done.stderr.count("\n") == 1
    assert files(checkout / "artifacts") == before
