"""What people type at DVC works on this graph: metrics, plots, and experiments that change or add a variant.

Reference: DVC's own output in a finished checkout.
"""

import json
from pathlib import Path

from conftest import must

COMMIT = ("git", "-c", "user.name=tester", "-c", "user.email=tester@localhost", "commit", "-q", "-a", "-m", "results")


def test_metrics_plots_and_experiments(checkout: Path) -> None:
    shown = json.loads(must("dvc", "metrics", "show", "--json", cwd=checkout))[""]["data"]
    assert shown["artifacts/evaluate/pca/metrics.json"]["data"]["mse_ratio_to_pca"] == 1.0
    assert shown["artifacts/compare/leaderboard.json"]["data"]["winner"] == "vanilla"

    must("git", "add", "-A", cwd=checkout)
    must(*COMMIT, cwd=checkout)
    overrides = ("-S", "variants.vanilla.latent_dim=6", "-S", "+variants.new={model: vanilla}", "-S", "train.epochs=2")
    said = must("dvc", "exp", "run", *overrides, cwd=checkout)
    assert "new: " in said
    ran = {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}
    assert not {name for name in ran if name.endswith("@pca")}, "more epochs do not concern a closed form"
    assert {"resolve", "train@vanilla", "train@new", "export@new", "compare"} <= ran

    changed = json.loads(must("dvc", "metrics", "diff", "--json", cwd=checkout))
    assert changed["artifacts/evaluate/vanilla/metrics.json"]["latent_dim"] == {"old": 8, "new": 6, "diff": -2}
    must("dvc", "plots", "show", cwd=checkout)
    pictures = {path.name for path in (checkout / "dvc_plots" / "static").iterdir()}
    assert {f"workspace_artifacts_evaluate_new_plots_{name}.svg" for name in ("losses", "errors", "codes")} <= pictures
    assert "false alarms of new, promised and realised" in (checkout / "dvc_plots" / "index.html").read_text()
