"""The study of a year: 365 nights of one checkout, with two drifts, two bad deliveries, and nobody there.

In:   nothing; records are drawn here, and the date of each night is handed to the components
Out:  docs/studies/year/ — year.png, events.md, history.txt, nights.csv
Run:  make study-year, or `python -m tests.studies year NIGHTS` for the first nights alone

Every night 200 records arrive; the champion scores them, monitoring looks, versions in shadow are settled, and an alarm
has the model trained anew on the records of the latest fortnight. Of the trainings that run every night only those are
run that could change something: every fifth night while an alarm stands, and one each quarter.
Twice a training gets what another site sent: its model wins the match on that site's records and alarms at ours. The
first time a winner takes over at once, so that probation has to take it back; the second time it is in shadow first.

The components are the real ones, with MLflow on SQLite. `score`, `look`, `settle`, `answer` and `publish` are called in
this process, because a flow's start every night would take hours; the stages run as `dvc repro` runs them.
"""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, redirect_stdout
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
from conftest import edit_params, environment
from matplotlib.figure import Figure

from components.bulk.options import Request
from components.drift import Look, look
from components.drift import Request as LookAt
from components.drifting.retraining import answer
from components.params import drift, load_section
from components.publishing.moves import Entry, history
from components.publishing.store import open_store
from components.register import print_history, publish, settle
from components.score import score
from tests.studies.__main__ import clone

BEGIN, NIGHTS, RECORDS = datetime(2026, 1, 1, 2, tzinfo=UTC), 365, 200
FORTNIGHT, EVERY, QUARTERS = 14, 5, (90, 181, 273)
DRIFT, SLOW_DRIFT, SLOW_NIGHTS = 130, 230, 20
"""Nights on which the subspace of the records turns at once, and begins to turn a little every night."""
BAD, BAD_IN_SHADOW, SHADOW_FROM = 60, 320, 200
"""Nights of the bad deliveries, and from when on winners are in shadow first."""
COLUMNS, UNITS, NOISE, ANOMALOUS, ANGLE = 16, 2, 0.05, 0.01, 10.0
PARAMS = {
    "ingest": {"source": "npz", "path": "feed/records.npz"},
    "prepare": {"normal_classes": None},
    "variants": {
        "vanilla": {"model": "vanilla", "latent_dim": UNITS, "hidden": [32], "epochs": 60, "learning_rate": 0.01},
        "pca": {"model": "pca", "latent_dim": UNITS},
    },
    "baselines": {},
    "evaluate": {"bootstrap": 500},
    "drift": {"window": 1000, "cool_down_hours": 120.0, "permutations": 199},
}
SHADOW = {"shadow_records": 400, "shadow_hours": 24.0}


def records(night: int, site: int = 0) -> np.ndarray:
    """What comes in on a night (record, column) float32: a curved sheet seen through noise, and a few records of noise.

    Two numbers make a record and four columns bend the sheet, so no plane holds it. Another site has another sheet.
    """
    generator = np.random.default_rng([night + FORTNIGHT, site])
    axes = np.linalg.qr(np.random.default_rng(site).normal(size=(COLUMNS, COLUMNS)))[0]
    turns = (night >= DRIFT) + np.clip((night - SLOW_DRIFT + 1) / SLOW_NIGHTS, 0, 1)
    angle = np.radians(ANGLE) * turns
    span = np.cos(angle) * axes[:4] + np.sin(angle) * axes[4:8]
    first, second = generator.uniform(-1, 1, (2, RECORDS))
    values = np.stack([first, second, first**2 - 1 / 3, 2 * first * second], axis=1) @ span
    values += generator.normal(scale=NOISE, size=values.shape)
    strange = generator.random(RECORDS) < ANOMALOUS
    values[strange] = generator.normal(scale=0.5, size=(strange.sum(), COLUMNS))
    return values.astype(np.float32)


@dataclass
class Night:
    """A line of nights.csv."""

    night: int
    date: str
    champion: str
    alarm_rate: float
    """Of the batch."""
    alarms: str
    """Checks of monitoring that alarmed."""
    trained: bool
    mlflow_db: float
    mlflow_artifacts: float
    dvc_cache: float
    scores: float
    """MiB, as the three before."""


@dataclass
class Year:
    """A simulated year, night by night."""

    nights: list[Night] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    """Night, then what happened."""

    def note(self, night: int, text: str) -> None:
        """Remember and show an event."""
        self.notes.append((night, text))
        print(f"{night:3} {date_of(night):%Y-%m-%d}  {text}", file=sys.__stdout__, flush=True)


def date_of(night: int) -> datetime:
    """When a night's run begins."""
    return BEGIN + timedelta(days=night)


def run_night(year: Year, night: int) -> None:
    """All that the schedules of one night do."""
    now, trained = date_of(night), False
    batch = Path(f"incoming/night-{night:03}.npy")
    np.save(batch, records(night))
    if night == SHADOW_FROM:
        edit_params(Path(), register=SHADOW)
        year.note(night, "winners are in shadow first from now on")
    for what, begins in {"drift at once": DRIFT, "slow drift begins": SLOW_DRIFT}.items():
        if night == begins:
            year.note(night, f"injected: {what}")
    params = load_section("register")
    manifest = score(Request(str(batch), jobs=1), 1, f"{params.name}@champion", now).manifest
    found = look(LookAt(Path("scores")), params.name, load_section("drift"), 7, now)
    settled = settle(params, Path("scores"), now)
    for line in settled.lines:
        if not any(still in line for still in ("is in shadow", "is on probation")):
            year.note(night, line.partition(":")[0])
    if settled.champion == found.version:
        trained |= respond(year, night, found)
    if night in QUARTERS and not trained:
        trained = train(year, night, "the calendar's")
    if night in (BAD, BAD_IN_SHADOW):
        trained = train(year, night, "another site's records:", site=1)
    sizes = [size_of(Path(place)) for place in ("mlflow.db", "mlartifacts", ".dvc/cache", "scores")]
    rate = manifest["alarms"] / manifest["records"]
    year.nights.append(Night(night, f"{now:%Y-%m-%d}", found.version, rate, " ".join(found.alarms), trained, *sizes))


def respond(year: Year, night: int, found: Look) -> bool:
    """Have an alarm answered as the flow of monitoring does; tell whether a training began."""
    params: drift.Params = load_section("drift")
    began: list[str] = []

    def retrain(_: str) -> str:
        began.append("training")
        train(year, night, f"alarm ({', '.join(found.alarms)}):")
        return "trained"

    model, pause = f"{found.name}/{found.version}", timedelta(hours=params.cool_down_hours)
    answer(found.alarms, model, date_of(night), pause, retrain, Path(".monitoring/retrainings.json"))
    latest = max((each.night for each in year.nights if each.trained), default=-1)
    if found.alarms and not began and night - latest >= EVERY:
        began.append("training")
        train(year, night, "nightly, while an alarm stands:")
    return bool(began)


def train(year: Year, night: int, why: str, site: int = 0) -> bool:
    """Refresh the source, run what is stale, publish."""
    Path("feed").mkdir(exist_ok=True)
    latest = range(night - FORTNIGHT + 1, night + 1)
    np.savez("feed/records.npz", x=np.concatenate([records(each, site) for each in latest]))
    for command in (["-f", "-s", "ingest"], []):
        subprocess.run(["dvc", "repro", "-q", *command], env=environment(), check=True, stdout=subprocess.DEVNULL)
    outcome = publish(load_section("register"), date_of(night))
    decision = outcome.promotion
    came = {"shadow": "in shadow", "waits": "waits", "decided": "refused"}[decision.state]
    came = "promoted" if decision.promoted else came
    year.note(night, f"{why} training, version {decision.version}: {came}")
    return True


def size_of(place: Path) -> float:
    """MiB of a file or a folder."""
    if place.is_file():
        return place.stat().st_size / 2**20
    files = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
    return sum(file.lstat().st_size for file in files) / 2**20


def run(scratch: Path, nights: int | str = NIGHTS) -> list[Path]:
    """Live through the year; returns the files to keep."""
    year = Year()
    target = clone("year")
    for command in (["clean", "-fdXq"], ["checkout", "-q", "HEAD", "--", "."]):
        subprocess.run(["git", *command], cwd=target, check=True)
    edit_params(target, **PARAMS)
    subprocess.run([sys.executable, "-m", "flows.running.prune"], cwd=target, env=environment(), check=True)
    with chdir(target):
        Path("incoming").mkdir()
        train(year, -1, "the first")
        for night in range(int(nights)):
            run_night(year, night)
        with open_store("hourglass") as store:
            moves = history(store)
        printed = StringIO()
        with redirect_stdout(printed):
            print_history(load_section("register"))
    (scratch / "history.txt").write_text(printed.getvalue())
    write_nights(year.nights, scratch / "nights.csv")
    (scratch / "events.md").write_text("\n".join(events(year)) + "\n")
    draw(year, moves).savefig(scratch / "year.png", dpi=110)
    return [scratch / name for name in ("year.png", "events.md", "history.txt", "nights.csv")]


def write_nights(nights: Sequence[Night], path: Path) -> None:
    """CSV with a line per night."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([each.name for each in fields(Night)])
        writer.writerows([f"{v:.4g}" if isinstance(v, float) else v for v in astuple(night)] for night in nights)


def events(year: Year) -> Iterator[str]:
    """Markdown: what was injected and when it was found, then everything that happened."""
    yield "| injected | night | first alarm | records until then | in its band again |"
    yield "| --- | --- | --- | --- | --- |"
    for what, begins in {"drift at once": DRIFT, "slow drift": SLOW_DRIFT}.items():
        after = [night for night in year.nights if night.night >= begins]
        alarm = next((night.night for night in after if night.alarms), None)
        if alarm is None:
            continue
        calm = next((n.night for n in after if n.night > alarm and not n.alarms), "-")
        yield f"| {what} | {begins} | {alarm} | {(alarm - begins + 1) * RECORDS:,} | {calm} |"
    before = [
        f"{night.night} (version {night.champion})" for night in year.nights if night.alarms and night.night < DRIFT
    ]
    yield ""
    yield f"Nights with an alarm before the first drift: {', '.join(before) or 'none'}."
    yield ""
    yield "| night | date | what happened |"
    yield "| --- | --- | --- |"
    for night, text in year.notes:
        yield f"| {night} | {date_of(night):%Y-%m-%d} | {text} |"


def draw(year: Year, moves: Sequence[Entry]) -> Figure:
    """Alarm rates and moves above, what is kept on disk below."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    rates, who, disk = figure.subplots(3, sharex=True, height_ratios=[3, 1.2, 2])
    nights = [night.night for night in year.nights]
    rates.plot(
        nights, [100 * night.alarm_rate for night in year.nights], ".", color="tab:blue", label="a night's batch"
    )
    rates.axhline(5, color="grey", linewidth=1, label="promised")
    rates.axhline(10, color="grey", linewidth=1, linestyle="--", label="end of the band")
    for axes in (rates, who):
        axes.axvline(DRIFT, color="tab:red", label="drift")
        axes.axvspan(SLOW_DRIFT, SLOW_DRIFT + SLOW_NIGHTS, color="tab:red", alpha=0.2, label="slow drift")
        for bad in (BAD, BAD_IN_SHADOW):
            axes.axvline(bad, color="tab:orange", linestyle=":", label="bad delivery" if bad == BAD else None)
    alarmed = [night for night in year.nights if night.alarms]
    rates.plot([n.night for n in alarmed], [0] * len(alarmed), "|", color="tab:red", label="monitoring alarms")
    rates.set_ylabel("alarms, %")
    rates.legend(ncols=4, fontsize="small")
    who.step(nights, [int(night.champion) for night in year.nights], where="post", color="black")
    marks = {"promoted": ("^", "tab:green"), "refused": ("x", "tab:grey"), "rolled back": ("v", "tab:red")}
    for kind, (mark, colour) in marks.items():
        of_kind = [entry for entry in moves if entry.move.kind == kind]
        at = [(entry.at - BEGIN) / timedelta(days=1) for entry in of_kind]
        who.plot(at, [int(entry.move.version) for entry in of_kind], mark, color=colour, label=kind)
    who.set_ylabel("champion")
    who.legend(ncols=3, fontsize="small")
    for place in ("mlflow_db", "mlflow_artifacts", "dvc_cache", "scores"):
        disk.plot(nights, [getattr(night, place) for night in year.nights], label=place.replace("_", " "))
    disk.set_ylabel("MiB")
    disk.set_xlabel("night")
    disk.legend(ncols=4, fontsize="small")
    return figure
