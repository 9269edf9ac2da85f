"""Every check of the data speaks up at its fault and is silent without it; drift is noticed across a refresh.

Reference: faults that are put into small data by hand, and pandera's own report for the schema of chunks.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_ingest import idx_bytes, write_idx

from components.data.columns import Column
from components.data.splits import SPLITS, Manifest, Scaling
from components.ingest import ingest
from components.params.ingest import Params as IngestParams
from components.params.prepare import SEVERITIES, Limits, Params, Severity
from components.prepare import prepare
from components.preparing.checks import CHECKS, Facts, Finding, numbered, validate
from components.preparing.content import Observed
from components.preparing.previous import Previous
from components.preparing.schema import failures, table_schema
from components.runtime.errors import UserError

PREVIOUS_FILE = Path("artifacts/ingest/previous.json")
VALIDATION = Path("artifacts/prepare/validation.json")
WARN: dict[str, Severity] = dict.fromkeys(SEVERITIES, "warning")


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(tmp_path: Path, in_directory: Callable[[Path], None]) -> None:
    in_directory(tmp_path)


MANIFEST = Manifest(
    "table", [3], "float32", ["good", "bad"], ["good"],
    {split: {"good": 60, "bad": 20 if split in ("selection", "test") else 0} for split in SPLITS},
    [0.0, 1.0], Scaling([0.0], [1.0]), {}, {"name": "table", "version": "1"}, {},
    [Column("age", "numeric", 0, 1, []), Column("city", "categorical", 1, 3, ["Bonn", "Rome"])],
    {"id": "identifier-like: 340 distinct values"}, {"age": [0.0, 100.0]},
)  # fmt: skip
BEFORE = Previous(
    "table", [3], "float32", ["good", "bad"], {"age": "numeric", "city": "categorical", "id": "dropped"},
    {"age": [0.0, 100.0]}, {},
)  # fmt: skip
SOUND = Facts(
    MANIFEST,
    Observed(340, {}, 0, {"age": 0.1, "city": 0.0}, {"age": 0}),
    BEFORE,
    np.arange(340),
    np.arange(340) % len(SPLITS),
    Limits(),
)


def manifest(**changed: Any) -> Facts:
    return replace(SOUND, manifest=replace(MANIFEST, **changed))


def observed(**changed: Any) -> Facts:
    return replace(SOUND, observed=replace(SOUND.observed, **changed))


def before(**changed: Any) -> Facts:
    return replace(SOUND, previous=replace(BEFORE, **changed))


def counts(good: int, bad: int) -> Mapping[str, Any]:
    return {"counts": {split: {"good": good, "bad": bad} for split in SPLITS}}


FAULTS = [
    ("schema", manifest(kind="array"), "kind was table and is array"),
    ("schema", manifest(columns=MANIFEST.columns[:1]), "column 'city' is gone"),
    ("schema", before(columns={**BEFORE.columns, "age": "date"}), "column 'age' was date and is numeric"),
    ("schema", manifest(dropped_columns={"city": "constant", "id": "x"}, columns=MANIFEST.columns[:1]),
     "column 'city' was categorical and is dropped"),
    ("schema", before(classes=["good", "bad", "ugly"]), "class 'ugly' is gone"),
    ("additions", before(columns={"age": "numeric", "id": "dropped"}), "column 'city' is new"),
    ("additions", before(columns={"age": "numeric", "city": "dropped", "id": "dropped"}), "column 'city' is used now"),
    ("additions", before(classes=["good"]), "class 'bad' is new"),
    ("ranges", observed(outside={"age": 3}), "3 of 'age' leave the declared range"),
    ("ranges", manifest(column_ranges={"age": [0.0, 111.0]}),
     "'age' now reaches from 0 to 111, before from 0 to 100"),
    ("ranges", manifest(column_ranges={"age": [-11.0, 50.0]}), "now reaches from -11 to 50"),
    ("missing", observed(missing={"age": 0.51, "city": 0.7}), "51.0 % of 'age', 70.0 % of 'city'; allowed are 50 %"),
    ("duplicates", replace(SOUND, content=np.arange(340) % 300), "40 of 340 records repeat another; allowed are 10 %"),
    ("duplicates_across", replace(SOUND, content=np.arange(340) % 339),
     "1 times the content of one split stands in another"),
    ("near_constant", observed(near_constant=4), "4 of 340 images; allowed are 1 %"),
    ("label_balance", manifest(**counts(40, 60)), "40.0 % of the records are normal"),
    ("label_balance", manifest(**counts(100, 1)), "99.0 % of the records are normal; 'bad' has 5 records"),
    ("corrupt_files", observed(rejected={"b.png": "is empty", "a.png": "is cut"}), "2 of 340 files: a.png, b.png"),
]  # fmt: skip


def by_code(facts: Facts) -> dict[str, Finding]:
    return {finding.code: finding for finding in validate(facts, WARN)}


def test_sound_data_passes_every_check() -> None:
    assert {code: finding.verdict for code, finding in by_code(SOUND).items()} == dict.fromkeys(SEVERITIES, "ok")


@pytest.mark.parametrize(("code", "facts", "found"), FAULTS, ids=[f"{code}: {found}" for code, _, found in FAULTS])
def test_a_fault_is_found_by_its_check_and_by_no_other(code: str, facts: Facts, found: str) -> None:
    findings = by_code(facts)
    assert [name for name, finding in findings.items() if finding.verdict == "warning"] == [code]
    assert found in findings[code].found


def test_every_check_has_its_fault_here_and_its_severity_in_params() -> None:
    assert [check.code for check in CHECKS] == list(SEVERITIES)
    assert {code for code, _, _ in FAULTS} == set(SEVERITIES)


def test_within_the_margin_a_range_may_grow() -> None:
    assert by_code(manifest(column_ranges={"age": [-9.0, 109.0]}))["ranges"].verdict == "ok"


def test_what_does_not_apply_is_never_shown_as_passed() -> None:
    bare = replace(manifest(classes=[], normal_classes=[]), previous=None, observed=Observed())
    unasked = [code for code, finding in by_code(bare).items() if finding.verdict == "not_applicable"]
    assert unasked == ["schema", "additions", "ranges", "missing", "near_constant", "label_balance"]


def test_an_error_names_check_figure_and_way_out_and_off_does_not_look() -> None:
    faulty = observed(missing={"age": 0.8})
    with pytest.raises(UserError) as caught:
        validate(faulty, {**WARN, "missing": "error"})
    assert str(caught.value) == (
        "prepare.checks.missing: columns are mostly empty (80.0 % of 'age'; allowed are 50 %); drop the column, or "
        "find out why it is empty; if it is meant, set prepare.checks.missing: warning"
    )
    off = validate(faulty, {**WARN, "missing": "off"})
    assert [(finding.verdict, finding.value) for finding in off if finding.code == "missing"] == [("off", None)]


def test_long_lists_are_cut() -> None:
    found = by_code(observed(rejected={f"{number:02}.png": "is empty" for number in range(14)}))["corrupt_files"].found
    assert found.endswith("08.png, 09.png and 4 more")


def test_equal_hashes_share_a_number() -> None:
    hashes = np.array([[5, 1], [2, 9], [5, 1], [5, 2]], np.uint64)
    numbers = numbered(hashes)
    assert sorted(set(numbers)) == [0, 1, 2]
    assert numbers[0] == numbers[2]


def test_unknown_checks_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"prepare\.checks: unknown check 'shema'; did you mean 'schema'"):
        Params(checks={"shema": "off"})
    assert Params(checks={"ranges": "off"}).checks == {**SEVERITIES, "ranges": "off"}


def test_a_chunk_is_held_against_types_and_declared_ranges() -> None:
    schema = table_schema({"age": "numeric", "city": "categorical", "when": "date"}, {"age": (0, 120)})
    age = np.array([0, 120, 121, -1, np.nan], np.float32)
    chunk = pd.DataFrame({"age": age, "city": ["", "Bonn", "Rome", "", ""], "when": age})
    assert failures(schema, chunk) == {"age": 2, "city": 0, "when": 0}
    assert failures(schema, chunk[:2]) == {"age": 0, "city": 0, "when": 0}
    from pandera.errors import SchemaErrors

    for wrong in (chunk[["age", "city"]], chunk.astype({"when": "float64"}), chunk.assign(new="x")):
        with pytest.raises(SchemaErrors):
            failures(schema, wrong)


def refresh(images: np.ndarray | None = None, classes: int = 10, **params: Any) -> dict[str, Any]:
    """A night: the source changes, ingest and prepare run; returns the findings by code."""
    write_idx(Path("raw"), count=400, classes=classes)
    if images is not None:
        Path("raw/train-images-idx3-ubyte").write_bytes(idx_bytes(images))
    ingest(IngestParams(source="idx", path="raw"))
    prepare(Params(**params))
    return {finding["code"]: finding for finding in json.loads(VALIDATION.read_text())["findings"]}


def written() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path("artifacts").rglob("*")) if path.is_file()}


def test_the_first_night_has_no_predecessor_and_equal_content_changes_no_byte() -> None:
    assert refresh()["schema"]["verdict"] == "not_applicable"
    first = written()
    assert refresh()["schema"]["verdict"] == "not_applicable"
    assert written() == first
    assert not PREVIOUS_FILE.exists()


def test_growth_is_no_drift_and_the_memory_survives_a_night_without_news() -> None:
    refresh(classes=9)
    grown = refresh(classes=10)
    assert (grown["schema"]["verdict"], grown["additions"]["verdict"]) == ("ok", "warning")
    assert grown["additions"]["found"] == "class '9' is new"
    second = written()
    refresh(classes=10)
    assert written() == second


def test_a_changed_record_is_an_error_until_params_accept_it() -> None:
    refresh()
    larger = np.random.default_rng(1).integers(0, 256, (400, 6, 4))
    for path in Path("raw").glob("t10k*"):
        path.unlink()
    Path("raw/train-images-idx3-ubyte").write_bytes(idx_bytes(larger))
    ingest(IngestParams(source="idx", path="raw"))
    with pytest.raises(UserError, match=r"item shape was \[1, 5, 4\] and is \[1, 6, 4\].*prepare.checks.schema: warn"):
        prepare(Params())
    prepare(Params(checks={"schema": "warning"}))
    remembered = PREVIOUS_FILE.read_bytes()
    ingest(IngestParams(source="idx", path="raw"))
    assert PREVIOUS_FILE.read_bytes() == remembered
    with pytest.raises(UserError, match="item shape"):
        prepare(Params())


def test_another_source_is_no_predecessor() -> None:
    refresh()
    refresh(classes=9, checks={"schema": "warning"})
    assert PREVIOUS_FILE.exists()
    ingest(IngestParams(source="digits"))
    assert not PREVIOUS_FILE.exists()
    prepare(Params())


def test_an_interrupted_sync_forgets_nothing() -> None:
    refresh(classes=10)
    write_idx(Path("raw"), count=400, classes=9)
    Path("artifacts/ingest/listing.json").unlink()  # as a sync leaves it that was broken off
    ingest(IngestParams(source="idx", path="raw"))
    with pytest.raises(UserError, match=r"class '9' is gone"):
        prepare(Params())


def test_columns_of_arrays_come_with_their_ranges() -> None:
    ingest(IngestParams(source="breast_cancer"))
    made = prepare(Params())
    values = np.load("artifacts/ingest/values.npy")
    assert made.column_ranges["0"] == [float(values[:, 0].min()), float(values[:, 0].max())]
    assert len(made.column_ranges) == values.shape[1]


def test_near_constant_images_and_repetitions_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 5, 4))
    images[:80] = 7
    found = refresh(images)
    assert found["near_constant"]["value"] == 80 / 600
    assert found["duplicates"]["found"] == "79 of 600 records repeat another; allowed are 10 %"
    assert [code for code, finding in found.items() if finding["verdict"] == "warning"] == [
        "duplicates", "near_constant"
    ]  # fmt: skip


@pytest.mark.parametrize("classes", [[], ["seven", "$x^2$ and a long name"]])
def test_examples_are_drawn_the_same_way_twice(classes: list[str], tmp_path: Path) -> None:
    from components.preparing.examples import draw_examples
    from components.reporting.plots import save

    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 15) if classes else np.full(30, -1)
    for split in ("train", "selection"):
        np.save(tmp_path / f"{split}.npy", generator.integers(0, 256, (30, 3, 120, 50), dtype=np.uint8))
        np.save(tmp_path / f"{split}_labels.npy", labels)
    of = Manifest("image", [3, 120, 50], "uint8", classes, classes[:1], {}, [0, 255], Scaling([0], [255]), {}, {}, {})
    for name in ("one", "two"):
        save(draw_examples(of, tmp_path), tmp_path / f"{name}.svg")
    svg = (tmp_path / "one.svg").read_text()
    assert svg == (tmp_path / "two.svg").read_text()
    assert svg.count("<image") == 8 * max(len(classes), 1)
    assert ("$x^2$ and a…" in svg) == bool(classes)
