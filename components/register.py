"""Act `register`: publish the results to MLflow, register the winner, and make it champion where it is better.

In:   artifacts/, dvc.lock, params.yaml; the champion in the registry
Out:  MLflow (MLFLOW_TRACKING_URI, or mlflow.db in the checkout): runs, a version, aliases; .work/published.json
Run:  python -m components.register            publish what is not published yet
      python -m components.register rollback   move the alias `champion` back to the version before

No stage: it tells what happened and who serves. Interrupted, the next run continues; repeated, it adds nothing. When
the tracking server is away it ends within seconds with exit code 2, and the next run publishes.
"""

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.checkout.lock import one_publication
from components.params import load_globals, load_section
from components.params.register import Params
from components.publishing.key import is_default_store, note_published, publish_key, tracking_uri
from components.runtime.errors import UserError, run_main, without_logins
from components.runtime.outputs import ARTIFACTS
from components.runtime.process import die_with_parent, set_threads

if TYPE_CHECKING:
    from components.publishing.promotion import Promotion
    from components.publishing.results import Results
    from components.publishing.store import Store

REPORT = ARTIFACTS / "compare/report.html"


@dataclass(frozen=True)
class Outcome:
    """What a publication came to."""

    name: str
    """Of the registered model."""
    variant: str
    is_new: bool
    """The version was registered just now."""
    promotion: "Promotion"
    """The decision about it."""
    is_news: bool
    """The decision was made just now."""
    champion: str | None
    """The version in service now."""

    @property
    def is_new_champion(self) -> bool:
        """Whether the alias was moved just now."""
        return self.is_news and self.promotion.promoted and self.promotion.champion_before != self.champion


def publish(params: Params) -> Outcome:
    """Publish the results in artifacts/, once.

    Raises:
        UserError: results are missing or differ from dvc.lock, the store is away, or `dvc push` failed.
    """
    from components.publishing.results import load_results
    from components.publishing.runs import finish_pipeline, is_finished, publish_pipeline, publish_variant
    from components.publishing.store import open_store
    from components.reporting.report import with_banner

    with one_publication():
        key, results = publish_key(), load_results()
        with open_store(params.name) as store:
            parent = publish_pipeline(store, results)
            runs = {v: publish_variant(store, results, v, parent.info.run_id) for v in results.variants}
            outcome = _register(store, results, params, runs[results.winner])
            if outcome.is_news or not is_finished(parent):
                report = with_banner(REPORT.read_text(), f"{_registered(outcome)}. Champion: {_champion(outcome)}.")
                finish_pipeline(store, parent.info.run_id, outcome.promotion.to_json(), report)
        note = {"name": params.name, "version": outcome.promotion.version, "champion": outcome.champion}
        note_published(key, {**note, "promoted": outcome.is_new_champion, "told": _champion(outcome)})
    return outcome


def _register(store: "Store", results: "Results", params: Params, run_id: str) -> Outcome:
    """Register the winner and decide about it."""
    from components.publishing.promotion import Rules, find_champion, settle
    from components.publishing.version import adopt_commit, find_version, publish_version

    version = find_version(store, results)
    if is_new := version is None:
        push_data()
        version = publish_version(store, results, run_id)
    may_lead = adopt_commit(store, results, version) or params.allow_dirty
    rules = Rules(results.leaderboard["rule"], params.margin, load_section("evaluate").bootstrap, may_lead)
    promotion, is_news = settle(store, results, version, rules)
    return Outcome(params.name, results.winner, is_new, promotion, is_news, find_champion(store))


def push_data() -> None:
    """Bring the data behind a version to DVC's remote first, where there is one.

    Raises:
        UserError: `dvc push` failed.
    """
    from dvc.config import Config
    from dvc.exceptions import NotDvcRepoError

    try:
        if not Config.from_cwd()["remote"]:
            return
    except NotDvcRepoError:
        return
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "push"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or ["ERROR: it failed"]
        fix = "mend the remote (`dvc remote list`) and run again, nothing was registered"
        raise UserError("dvc push", lines[0].removeprefix("ERROR: "), fix)


def summary(outcome: Outcome) -> str:
    """What a person reads at the end."""
    uri, serve = without_logins(tracking_uri()), ""
    look = f"mlflow ui --backend-store-uri {uri}"
    if not is_default_store():
        look, serve = uri, f"MLFLOW_TRACKING_URI={uri} "
    lines = [f"registered  {_registered(outcome)}", f"champion    {_champion(outcome)}", f"look at it  {look}"]
    if outcome.champion:
        lines.append(f"serve it    {serve}mlflow models serve -m models:/{outcome.name}@champion --env-manager local")
    if outcome.is_news and outcome.promotion.promoted and outcome.promotion.champion_before:
        lines.append("take back   python -m components.register rollback")
    return "\n".join(lines)


def _registered(outcome: Outcome) -> str:
    known = "alias challenger" if outcome.is_new else "known before, nothing was added"
    return f"{outcome.name} version {outcome.promotion.version} ({outcome.variant}), {known}"


def _champion(outcome: Outcome) -> str:
    decision, now = outcome.promotion, f"version {outcome.champion}"
    if decision.promoted and outcome.champion != decision.version:
        return f"{now}, version {decision.version} was before it"
    if decision.promoted:
        return f"{now}: {decision.reason}"
    return f"{f'{now} stays' if outcome.champion else 'none yet'}: {decision.reason}"


def rollback(params: Params) -> str:
    """Move `champion` back; return what was done.

    Raises:
        UserError: there is nothing to go back to, or the store is away.
    """
    from components.publishing.promotion import roll_back
    from components.publishing.store import open_store

    with one_publication(), open_store(params.name) as store:
        left, now = roll_back(store)
    return f"champion of '{params.name}' is version {now} again, version {left} will not be promoted by itself any more"


def main() -> None:
    """Publish, or roll back."""
    die_with_parent()
    set_threads(load_globals().threads)
    params = load_section("register")
    match sys.argv[1:]:
        case []:
            print(summary(publish(params)))
        case ["rollback"]:
            print(rollback(params))
        case [other, *_]:
            usage = "use `python -m components.register` or `python -m components.register rollback`"
            raise UserError("components.register", f"unknown argument '{other}'", usage)


if __name__ == "__main__":
    run_main(main)
