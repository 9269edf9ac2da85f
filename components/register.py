"""Act `register`: publish the results to MLflow, register the winner, and make it champion where it is better.

In:   artifacts/, dvc.lock, params.yaml; the champion in the registry; for --settle a folder of answers
Out:  MLflow (MLFLOW_TRACKING_URI, or mlflow.db in the checkout): runs, a version, aliases, the history of all moves;
      .work/published.json; of --settle .monitoring/settled.json
Run:  python -m components.register                      publish what is not published yet
      python -m components.register --settle [FOLDER]    move what versions in shadow have decided (monitoring does it)
      python -m components.register --history            every move of the alias `champion`, with its reason
      python -m components.register rollback [--reason WHY]
      python -m components.register --champion NAME/VERSION --reason WHY

No stage: it tells what happened and who serves. Interrupted, the next run continues; repeated, it adds nothing. When
the tracking server is away it ends within seconds with exit code 2, and the next run publishes.
"""

import argparse
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkout.lock import one_publication
from components.params import load_globals, load_section
from components.params.register import Params
from components.publishing.key import forget_published, is_default_store, note_published, publish_key, tracking_uri
from components.runtime.errors import UserError, run_main, without_logins
from components.runtime.outputs import ARTIFACTS, complete_file, write_json
from components.runtime.process import die_with_parent, set_threads

if TYPE_CHECKING:
    from components.publishing.promotion import Promotion
    from components.publishing.results import Results
    from components.publishing.store import Store
    from components.shadowing.settling import Settled

REPORT = ARTIFACTS / "compare/report.html"
SETTLED = Path(".monitoring/settled.json")
"""What --settle came to, for programs."""


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


def publish(params: Params, now: datetime | None = None) -> Outcome:
    """Publish the results in artifacts/, once.

    Args:
        params: the registry and the rule.
        now: time of the moves; the clock's where it is None.

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
            outcome = _register(store, results, params, runs[results.winner], now or datetime.now(UTC))
            if outcome.is_news or not is_finished(parent):
                report = with_banner(REPORT.read_text(), f"{_registered(outcome)}. Champion: {_champion(outcome)}.")
                finish_pipeline(store, parent.info.run_id, outcome.promotion.to_json(), report)
        if outcome.promotion.state == "waits":
            forget_published()  # the next run asks again
        else:
            came = {"name": params.name, "version": outcome.promotion.version, "champion": outcome.champion}
            note_published(key, {**came, "promoted": outcome.is_new_champion, "told": _champion(outcome)})
    return outcome


def _register(store: "Store", results: "Results", params: Params, run_id: str, now: datetime) -> Outcome:
    """Register the winner and decide about it."""
    from components.publishing.promotion import Rules, find_champion, settle
    from components.publishing.version import adopt_commit, find_version, publish_version

    version = find_version(store, results)
    if is_new := version is None:
        push_data()
        version = publish_version(store, results, run_id)
    may_lead = adopt_commit(store, results, version) or params.allow_dirty
    bootstrap = load_section("evaluate").bootstrap
    rules = Rules(results.leaderboard["rule"], params.margin, bootstrap, may_lead, params.shadow)
    promotion, is_news = settle(store, results, version, rules, now)
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
    if decision.state == "shadow" and outcome.champion != decision.version:
        return f"{now} stays for now, version {decision.version} is in shadow: {decision.reason}"
    return f"{f'{now} stays' if outcome.champion else 'none yet'}: {decision.reason}"


def rollback(params: Params, reason: str = "by hand", now: datetime | None = None) -> str:
    """Move `champion` back; return what was done.

    Raises:
        UserError: there is nothing to go back to, or the store is away.
    """
    from components.publishing.by_hand import roll_back
    from components.publishing.store import open_store

    with one_publication(), open_store(params.name) as store:
        left, back = roll_back(store, reason, now or datetime.now(UTC))
    return (
        f"champion of '{params.name}' is version {back} again, version {left} will not be promoted by itself any more"
    )


def choose(params: Params, reference: str, reason: str, now: datetime | None = None) -> str:
    """Make the version NAME/VERSION champion; return what was done.

    Raises:
        UserError: there is no such version, no reason, or the store is away.
    """
    from components.publishing import by_hand
    from components.publishing.store import open_store

    with one_publication(), open_store(params.name) as store:
        left, chosen = by_hand.choose(store, reference, reason, now or datetime.now(UTC))
    if left in (None, chosen):
        return f"champion of '{params.name}' is version {chosen}"
    return f"champion of '{params.name}' is version {chosen}, version {left} will not be promoted by itself any more"


def settle(params: Params, scored: Path, now: datetime | None = None) -> "Settled":
    """Move what versions in shadow have decided, and leave what came of it in .monitoring/settled.json.

    Raises:
        UserError: an answer cannot be read, or the store is away.
    """
    from components.publishing.store import open_store
    from components.shadowing.settling import Rules, settle

    with one_publication(), open_store(params.name) as store:
        found = settle(store, Rules(scored, params, load_section("drift"), now or datetime.now(UTC)))
        with complete_file(SETTLED) as temporary:
            write_json(temporary, asdict(found))
    return found


def print_history(params: Params) -> None:
    """Print every move.

    Raises:
        UserError: the store is away.
    """
    from components.publishing.moves import history
    from components.publishing.store import open_store
    from components.reporting.moves import print_moves

    with open_store(params.name) as store:
        print_moves(history(store))


def main() -> None:
    """Publish, or what else is asked for."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m components.register", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("act", nargs="?", metavar="rollback", help="give `champion` back to the version before")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--settle", nargs="?", type=Path, const=Path("scores"), metavar="FOLDER",
                     help="of answers: move what versions in shadow have decided (scores)")  # fmt: skip
    one.add_argument("--history", action="store_true", help="print every move with its reason")
    one.add_argument("--champion", metavar="NAME/VERSION", help="make that version champion, by hand")
    add("--reason", default="", metavar="WHY", help="of a move by hand; the history keeps it")
    options = parser.parse_args()
    if options.act not in (None, "rollback"):
        usage = "use `python -m components.register` or `python -m components.register rollback`"
        raise UserError("components.register", f"unknown argument '{options.act}'", usage)
    set_threads(load_globals().threads)
    params = load_section("register")
    if options.act:
        print(rollback(params, options.reason or "by hand"))
    elif options.champion:
        print(choose(params, options.champion, options.reason))
    elif options.settle:
        print("\n".join(settle(params, options.settle).lines))
    elif options.history:
        print_history(params)
    else:
        print(summary(publish(params)))


if __name__ == "__main__":
    run_main(main)
