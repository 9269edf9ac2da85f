"""Provoke faults, and write what came of them to docs/faults.md.

    python -m tests.faults [KIND …] [--kills N] [--minutes M] [--seed S]
Results add up over several calls with --add. Exit code 1: something was lost, doubled or spoiled.
"""

import argparse
import importlib
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random

from tests.faults.result import EQUAL, Result, recall, remember, table
from tests.faults.world import ROOT, World, real_world

PAGE = ROOT / "docs/faults.md"
KINDS = ("corruption", "two_flows", "disk", "clock", "worker", "servers", "kill")
_PAGE = """# Faults

What was provoked, how the run ended, and what it came to when it was run again. "{equal}": the same dvc.lock as a run
that nobody disturbs, the same bytes in every file of `artifacts/`, and each content key registered once. `make faults`
makes this page; `make test` provokes the cheap and certain ones of these faults.

{day}, {cpus} CPUs. Digits, one epoch, two variants; where it says toy, and for Prefect and its worker, the real flow
on stages of a few lines. {kills} kills. Results by commit: {commits}.

{table}
"""


def provoke(kind: str, world: World, random: Random, kills: int, until: float) -> Iterator[Result]:
    """Faults of one kind: those of a table once each, kills until there are enough or time is up."""
    module = importlib.import_module(f"tests.faults.{kind}")
    done = 0
    while True:
        for result in module.provoke(world, random):
            done += 1
            print("      " if result.is_well else "WRONG ", " | ".join(vars(result).values()), flush=True)
            yield result
        if kind != "kill" or done >= kills or time.monotonic() > until:
            return


def write_page(found: list[tuple[str, Result]]) -> None:
    """Write docs/faults.md."""
    results = [result for _, result in found]
    commits = ", ".join(f"{commit} {times}" for commit, times in Counter(commit for commit, _ in found).items())
    kills = sum(result.fault.startswith("kill") for result in results)
    conditions = {"commits": commits, "day": date.today(), "cpus": os.cpu_count(), "kills": kills}
    PAGE.write_text(_PAGE.format(equal=EQUAL, table=table(results), **conditions))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (all)")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="how many, at least (100)")
    parser.add_argument("--minutes", type=float, default=120, metavar="M", help="for kills, at most (120)")
    parser.add_argument("--seed", type=int, default=7, metavar="S", help="of the random times and victims (7)")
    parser.add_argument("--add", action="store_true", help="keep the results of earlier calls")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    memory = ROOT / ".work/faults.jsonl"
    if not options.add:
        memory.unlink(missing_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="hourglass-faults-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    world, random = real_world(folder), Random(options.seed)
    print(f"an undisturbed run takes {world.seconds:.0f} s here", flush=True)
    until = time.monotonic() + 60 * options.minutes
    for kind in options.kinds or KINDS:
        remember(memory, commit.stdout.strip(), provoke(kind, world, random, options.kills, until))
    found = recall(memory)
    write_page(found)
    if not all(result.is_well for _, result in found):
        raise SystemExit(f"something went wrong, the checkouts are kept in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
