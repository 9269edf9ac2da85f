"""Monitoring keeps its promise: false alarms of the deployed path at most delta, changes found soon, restarts unseen.

References: brute force for ranks and wealth, scipy for distances, the binomial distribution for simulated rates.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import Browser
from hypothesis import given, settings
from hypothesis import strategies as st
from monitored import UNITS, enter, normal, register, write_part
from publications import MLFLOWS_OWN, NAME, runs
from scipy.stats import binomtest, energy_distance, ks_2samp

from components.data.columns import Column
from components.drift import LATEST, Request, look
from components.drifting import codes, columns
from components.drifting.alarms import largest_expected
from components.drifting.checks import look_at
from components.drifting.errors import distance, stability_index
from components.drifting.martingale import Stream, Wealth, bet, follow, log_bets
from components.drifting.memory import absorb, begin, load, save
from components.drifting.online import earlier
from components.drifting.parts import Part
from components.drifting.reference import Reference
from components.params.drift import Params
from components.runtime.errors import UserError
from components.scoring.conformal import Calibration

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOWS_OWN]
DELTA = 0.1
MEMORY = 10_000


# ranks and bets


@given(st.lists(st.integers(0, 6), max_size=70))
def test_earlier_scores_are_counted_as_by_hand(scores: list[int]) -> None:
    higher, equal = earlier(np.array(scores, np.float32))
    for row, score in enumerate(scores):
        assert higher[row] == sum(other > score for other in scores[:row])
        assert equal[row] == sum(other == score for other in scores[:row])


def test_every_bet_is_fair() -> None:
    p = (np.arange(2_000_000) + 0.5) / 2_000_000
    for gain in log_bets(p):
        assert np.exp(gain).mean() == pytest.approx(1, abs=2e-3)
        assert np.isfinite(gain).all()
    assert all(np.isfinite(gain).all() for gain in log_bets(np.array([1.0, 2.0**-53])))


def test_wealth_is_the_mixture_over_bets_and_their_beginnings() -> None:
    p = np.random.default_rng(0).uniform(size=12)
    _, path = bet(Wealth(), p)
    gains = np.exp(list(log_bets(p)))
    for now in range(1, 13):
        begun = sum(gains[:, k - 1 : now].prod(1).mean() / (k * (k + 1)) for k in range(1, now + 1))
        assert np.exp(path[now - 1]) == pytest.approx(begun + 1 / (now + 1))


# the guarantee


def alarmed(generator: np.random.Generator, streams: int, memory: int, ties: bool) -> int:
    """Streams without a change on which the deployed path ever alarms: 100 calibration records, 4 parts of 100."""
    found = 0
    for seed in range(streams):
        scores = generator.normal(size=500)
        scores = (np.floor(2 * scores) if ties else scores).astype(np.float32)
        stream = Stream(np.sort(scores[:100]))
        for part in np.split(scores[100:], 4):
            stream = follow(stream, part, DELTA, memory, seed)
        found += stream.alarm(DELTA)
        assert stream.alarm(DELTA) == (stream.crossed is not None)
    return found


@pytest.mark.parametrize(("memory", "ties"), [(MEMORY, False), (MEMORY, True), (200, False)])
def test_false_alarms_are_at_most_delta(memory: int, ties: bool) -> None:
    streams = 500
    found = alarmed(np.random.default_rng(1), streams, memory, ties)
    assert binomtest(found, streams, DELTA, "greater").pvalue > 1e-4
    assert found > 0  # the bound is not kept by never betting


def test_p_values_against_one_fixed_set_break_the_promise() -> None:
    generator, streams, found = np.random.default_rng(2), 200, 0
    for _ in range(streams):
        calibration = np.sort(generator.normal(size=100)).astype(np.float32)
        p = Calibration(0.05, 100, 5, 0, 0, calibration).p_values(generator.normal(size=3000).astype(np.float32))
        found += bet(Wealth(), p)[0].peak >= -np.log(DELTA)
    assert binomtest(found, streams, DELTA, "greater").pvalue < 1e-12  # most streams alarm, with nothing changed


@pytest.mark.parametrize(("shift", "soon"), [(0.5, 400), (1.0, 100), (2.0, 40)])
def test_changes_of_three_sizes_are_found_soon(shift: float, soon: int) -> None:
    generator, delays = np.random.default_rng(3), []
    for seed in range(20):
        scores = generator.normal(size=1000 + 2000 + 1500).astype(np.float32)
        scores[3000:] += shift  # in standard deviations, after 2,000 unchanged records
        stream = follow(Stream(np.sort(scores[:1000])), scores[1000:], 0.01, MEMORY, seed)
        assert stream.crossed is not None and stream.crossed > 2000
        delays.append(stream.crossed - 2000)
    assert np.median(delays) < soon


def test_scores_that_are_no_number_count_as_the_highest() -> None:
    unchanged = np.sort(np.random.default_rng(4).normal(size=500)).astype(np.float32)
    assert follow(Stream(unchanged), np.full(30, np.nan), DELTA, MEMORY, 0).alarm(DELTA)


# restarts


CALIBRATION = Calibration.fit(np.random.default_rng(5).gamma(4, size=300), 0.05)
SCORES = np.random.default_rng(6).gamma(4, size=400).astype(np.float32).round(1)
CODES = np.random.default_rng(7).normal(size=(400, 2)).astype(np.float32)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 400), max_size=6), st.booleans())
def test_a_stream_in_pieces_is_the_stream_in_one_go(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], short: bool
) -> None:
    params = Params(window=100, memory=1000, gallery=5).model_copy(update={"memory": 350 if short else 1000})
    path = tmp_path_factory.mktemp("memory") / "memory.safetensors"
    ends = [0, *sorted(cuts), 400]
    memory = begin(CALIBRATION)
    for start, stop in itertools.pairwise(ends):
        piece = slice(start, stop)
        memory = absorb(memory, part(SCORES[piece], CODES[piece], start), CALIBRATION, params, seed=7)
        save(memory, path, "version")
        memory = load(path, "version", CALIBRATION)
    whole = absorb(begin(CALIBRATION), part(SCORES, CODES), CALIBRATION, params, seed=7)
    assert_equal(memory.stream, whole.stream)
    assert np.array_equal(memory.scores, whole.scores) and np.array_equal(memory.codes, whole.codes)
    assert [replace(extreme, part="") for extreme in memory.gallery] == [
        replace(extreme, part="") for extreme in whole.gallery
    ]


def part(scores: np.ndarray, of_records: np.ndarray | None = None, start: int = 0) -> Part:
    return Part(
        f"key-{start}", f"part-{start}", [str(start + row) for row in range(len(scores))], scores, None, of_records
    )


def assert_equal(one: Stream, other: Stream) -> None:
    assert np.array_equal(one.history, other.history)
    assert one.crossed == other.crossed
    for name, value in asdict(one.wealth).items():
        assert np.array_equal(value, asdict(other.wealth)[name]), name  # to the last bit


def test_a_memory_of_another_version_is_not_taken_for_this_ones_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "memory.safetensors"
    save(absorb(begin(CALIBRATION), part(SCORES), CALIBRATION, Params(), 0), path, "one")
    assert load(path, "one", CALIBRATION).stream.wealth.records == 400
    assert load(path, "other", CALIBRATION).stream.wealth.records == 0
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="is damaged; restore it, or delete it"):
        load(path, "one", CALIBRATION)


# the other checks


def test_distances_are_scipys() -> None:
    generator = np.random.default_rng(8)
    one, other = generator.normal(size=300), generator.normal(0.3, size=200).round(1)
    assert distance(one, other, 0.95).value == pytest.approx(ks_2samp(one, other).statistic)
    apart = codes.energy(one[:, None] / one.std(), other[:, None] / one.std(), 199, 0.95, 0)
    assert apart.squared == pytest.approx(energy_distance(one / one.std(), other / one.std()) ** 2)
    assert codes.holm(np.array([0.01, 0.04, 0.03, 0.5])) == pytest.approx([0.04, 0.09, 0.09, 0.5])


def test_intervals_of_distances_hold_the_truth() -> None:
    generator, held = np.random.default_rng(9), 0
    truth = 0.19741  # of normals half a deviation apart: 2 Phi(1/4) - 1
    for _ in range(200):
        found = distance(generator.normal(size=300), generator.normal(0.5, size=300), 0.95)
        held += found.low <= truth <= found.high
    assert held >= 190


def test_the_stability_index_is_its_formula_and_chance_alone_raises_no_alarm() -> None:
    reference = np.arange(1000.0)
    sample = np.repeat(np.arange(50, 1000, 100.0), [200, *[80] * 8, 160])
    shares = np.array([200, *[80] * 8, 160]) / 1000
    assert stability_index(reference, sample, 0.95, 0).value == pytest.approx(
        ((shares - 0.1) * np.log(shares / 0.1)).sum(), abs=2e-3
    )
    generator = np.random.default_rng(10)
    lows = [stability_index(generator.normal(size=100), generator.normal(size=100), 0.95, 0).low for _ in range(40)]
    assert np.mean(np.array(lows) > 0) < 0.1  # though the index itself is always positive


def test_permutations_give_honest_p_values() -> None:
    generator = np.random.default_rng(11)
    samples = [generator.normal(size=(2, 40, 3)) for _ in range(100)]
    p = np.array([codes.energy(one, other, 99, 0.95, 0).p_value for one, other in samples])
    assert binomtest(int((p <= 0.1).sum()), 100, 0.1).pvalue > 1e-3
    assert codes.energy(samples[0][0], samples[0][1] + 1, 99, 0.95, 0).p_value == 0.01


def findings(scores: np.ndarray, of_records: np.ndarray, params: Params | None = None) -> dict[str, str]:
    params = params or Params(window=100_000)
    calibration = Calibration.fit(np.random.default_rng(12).gamma(4, size=5000), 0.05)
    reference = Reference(calibration, np.random.default_rng(13).normal(size=(2000, 4)).astype(np.float32), [], {})
    memory = absorb(begin(calibration), part(scores.astype(np.float32), of_records), calibration, params, seed=0)
    return {finding.check: finding.verdict for finding in look_at(memory, reference, None, params, 0).checks}


def test_a_large_batch_with_a_small_difference_is_no_alarm_and_a_large_difference_is() -> None:
    generator = np.random.default_rng(14)
    large = 1.05 * generator.gamma(4, size=100_000)
    assert ks_2samp(generator.gamma(4, size=5000), large, method="asymp").pvalue < 0.01  # a plain test fires
    small = findings(large, generator.normal(0.05, 1, (100_000, 4)).astype(np.float32))
    assert {small[name] for name in ("ks", "psi", "alarm_rate", "energy", "units")} == {"ok"}
    assert {small[name] for name in ("schema", "unreadable", "missing")} == {"not_applicable"}
    moved = generator.normal(size=(3000, 4)).astype(np.float32)
    moved[:, 2] += 1.5
    changed = findings(1.8 * generator.gamma(4, size=3000), moved)
    names = ("martingale", "ks", "psi", "alarm_rate", "energy", "units")
    assert {changed[name] for name in names} == {"problem"}


def test_few_records_are_not_judged() -> None:
    few = findings(np.ones(20), np.ones((20, 4), np.float32))
    assert {few[name] for name in ("ks", "psi", "alarm_rate", "energy", "units")} == {"not_applicable"}


def test_the_calibration_sets_own_luck_is_no_news() -> None:
    few = Calibration.fit(np.arange(100.0), 0.05)
    assert largest_expected(few, 1.0, 0.95) == pytest.approx(few.upper_95)
    assert largest_expected(few, 3.0, 0.95) == pytest.approx(0.15)


COLUMNS = [
    Column("age", "numeric", 0, 1, []),
    Column("member", "boolean", 1, 3, ["true", "false"]),
    Column("colour", "categorical", 3, 5, ["red", "blue"]),
    Column("since", "date", 5, 6, [], "2020-01-01T00:00:00"),
]


def rows(**changed: Sequence[str]) -> pd.DataFrame:
    cells = {"age": ["41", "7.5"], "member": ["yes", "0"], "colour": ["red", "blue"], "since": ["2026-01-31", ""]}
    return pd.DataFrame({name: list(values) * 50 for name, values in {**cells, **changed}.items()}, dtype="str")


def test_columns_are_held_against_the_reference(tmp_path: Path) -> None:
    usual = {"since": 0.5}
    same = columns.compare(COLUMNS, usual, rows(), 0.95)
    assert (same.gone, same.new) == ([], [])
    assert all(state.unreadable.value == 0 for state in same.columns)
    assert all(state.missing.value == 0 and state.missing.low <= 0 for state in same.columns)
    changed = rows(age=["old", "NA"], colour=["teal", "red"], extra=["1", "2"]).drop(columns="member")
    state = columns.compare(COLUMNS, usual, changed, 0.95)
    assert (state.gone, state.new) == (["member"], ["extra"])
    found = {column.name: column for column in state.columns}
    assert found["age"].unreadable.value == found["age"].missing.value == found["colour"].unreadable.value == 0.5
    changed.to_parquet(tmp_path / "rows.parquet")
    changed.to_csv(tmp_path / "rows.csv", index=False)
    for name in ("rows.parquet", "rows.csv"):
        assert columns.compare(COLUMNS, usual, columns.read_cells(tmp_path / name), 0.95) == state


# the act


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    enter(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


FAST = Params(permutations=199, codes=200)
SCORED = Path("scored")


def test_a_look_counts_what_is_new_and_an_alarm_is_told_everywhere(here: Path, browser: Browser) -> None:
    calibration, generator = register(), np.random.default_rng(15)
    write_part(SCORED / "1/part-0.parquet", calibration, normal(generator, 600), generator.normal(size=(600, UNITS)))
    first = look(Request(SCORED), NAME, FAST, 7)
    assert (first.new_records, first.alarms) == (600, [])
    again = look(Request(SCORED), NAME, FAST, 7)
    assert (again.new_records, again.records, again.alarms) == (0, 600, [])

    hostile = "<script>alert(1)</script>/part-0.parquet"
    write_part(SCORED / "2" / hostile, calibration, normal(generator, 400, shift=3), np.full((400, UNITS), 3))
    second = look(Request(SCORED), NAME, FAST, 7)
    assert (second.new_records, second.records) == (400, 1000)
    assert {"martingale", "ks", "alarm_rate", "energy", "units"} <= set(second.alarms)
    assert json.loads(LATEST.read_text())["alarms"] == second.alarms
    assert "ALARM   The stream has changed at some time: at record 6" in str(second)

    run = runs()["monitoring of version 1"]
    assert run.data.metrics["alarms"] == len(second.alarms) and run.data.metrics["ks"] > 0.25
    page = Path(second.report)
    assert (page.parent / "gallery.csv").read_text().count("\n") == 1 + FAST.gallery
    browser.open(page)
    assert browser.complaints() == [] and browser.requests() == [page.resolve().as_uri()]
    assert browser.evaluate("document.querySelectorAll('script, img').length") == 0
    assert hostile in browser.evaluate("document.querySelector('#gallery').textContent")
    assert browser.evaluate("document.querySelector('h1').textContent").startswith("The stream has changed")
    browser.open(page, width=360)
    assert browser.evaluate("document.documentElement.scrollWidth") == 360


def test_a_new_champion_begins_anew_and_parts_of_the_old_one_are_set_aside(here: Path) -> None:
    old, generator = register(0), np.random.default_rng(16)
    write_part(SCORED / "part-0.parquet", old, normal(generator, 300, shift=2))
    assert "martingale" in look(Request(SCORED), NAME, FAST, 7).alarms
    new = register(1)
    write_part(SCORED / "part-1.parquet", new, normal(generator, 200))
    found = look(Request(SCORED), NAME, FAST, 7)
    assert (found.version, found.records, found.set_aside, found.alarms) == ("2", 200, ["part-0.parquet"], [])
    assert look(Request(SCORED, version="1"), NAME, FAST, 7).set_aside == ["part-1.parquet"]


def test_a_part_is_known_by_its_content_wherever_it_lies(here: Path) -> None:
    calibration, generator = register(), np.random.default_rng(18)
    write_part(SCORED / "a/part-0.parquet", calibration, normal(generator, 60), key="first")
    write_part(SCORED / ".a.scoring/part-0.parquet", calibration, normal(generator, 60))  # not finished
    assert look(Request(SCORED), NAME, FAST, 7).new_records == 60
    (SCORED / "a/part-0.parquet").rename(SCORED / "a/part-1.parquet")
    write_part(SCORED / "a/part-0.parquet", calibration, normal(generator, 70), key="second")
    assert look(Request(SCORED), NAME, FAST, 7).new_records == 70


def test_raw_rows_of_a_table_are_looked_at_once(here: Path) -> None:
    calibration = register(0, COLUMNS)
    write_part(SCORED / "part-0.parquet", calibration, normal(np.random.default_rng(17), 100))
    Path("rows").mkdir()
    rows(age=["x", "1"]).drop(columns="member").to_csv("rows/1.csv", index=False)
    found = look(Request(SCORED, Path("rows")), NAME, FAST, 7)
    assert found.alarms == ["schema", "unreadable", "missing"]
    assert "'age' most: 50.0 %" in str(found) and "gone: 'member'" in str(found)
    assert look(Request(SCORED, Path("rows")), NAME, FAST, 7).alarms == []


def test_what_cannot_be_looked_at_is_named_and_nothing_is_counted(here: Path) -> None:
    with pytest.raises(UserError, match=f"'{NAME}' has no champion to monitor"):
        look(Request(SCORED), NAME, FAST, 7)
    calibration = register()
    with pytest.raises(UserError, match="scored: is not there; name the folder that scoring writes to"):
        look(Request(SCORED), NAME, FAST, 7)
    with pytest.raises(UserError, match=rf"'{NAME}' has no version 5; known: 1"):
        look(Request(SCORED, version="5"), NAME, FAST, 7)
    write_part(SCORED / "part-0.parquet", calibration, np.ones(60, np.float32))
    (SCORED / "part-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"part-1.parquet: is no readable part"):
        look(Request(SCORED), NAME, FAST, 7)
    pd.DataFrame({"id": [1]}).to_parquet(SCORED / "part-1.parquet")
    with pytest.raises(UserError, match=r"part-1.parquet: has no column 'score' \(id\)"):
        look(Request(SCORED), NAME, FAST, 7)
    (SCORED / "part-1.parquet").unlink()
    assert look(Request(SCORED), NAME, FAST, 7).new_records == 60
