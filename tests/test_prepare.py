"""Splits are stable, leak-free and complete; damaged data is refused.

Reference: set arithmetic on the records themselves, and hypothesis for data that grows.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ingest import read_idx, write_idx

from components.data.dealing import DROPPED, content_hashes, deal
from components.data.scaling import Scale
from components.data.splits import SPLITS, Manifest, load_anomalous, load_labels, load_manifest, load_records
from components.ingest import ingest
from components.params.ingest import Params as IngestParams
from components.params.prepare import Fractions, Params
from components.prepare import prepare
from components.runtime.errors import UserError
from components.runtime.outputs import write_json
from components.sources import Options

FRACTIONS = Fractions().model_dump()
TEST = SPLITS.index("test")


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(tmp_path: Path, in_directory: Callable[[Path], None]) -> None:
    in_directory(tmp_path)


def digits(**params: Any) -> Manifest:
    ingest(IngestParams(source="digits"))
    return prepare(Params(**params))


def array_source(values: np.ndarray, labels: np.ndarray | None = None) -> None:
    """Raw data of the source breast_cancer, with other values."""
    raw = Path("artifacts/ingest")
    raw.mkdir(parents=True)
    np.save(raw / "values.npy", values.astype(np.float32))
    np.save(raw / "labels.npy", np.ones(len(values), np.int64) if labels is None else labels)
    write_json(
        raw / "listing.json", {"source": "breast_cancer", "version": "test", "options": asdict(Options()), "files": {}}
    )


def test_every_record_lands_in_exactly_one_split() -> None:
    manifest = digits()
    assert sum(manifest.size(split) for split in SPLITS) == 1797
    rows = np.concatenate([load_records(split).reshape(-1, 64) for split in SPLITS])
    raw = np.load("artifacts/ingest/images.npy").reshape(-1, 64)
    assert np.array_equal(np.sort(rows.view("V64").ravel()), np.sort(raw.view("V64").ravel()))


def test_fitting_splits_hold_normal_records_only_and_anomalies_are_judged() -> None:
    manifest = digits(normal_classes=["0", 1, "2"])
    for split in ("train", "validation", "calibration"):
        assert not load_anomalous(split, manifest).any()
    anomalous = [int(load_anomalous(split, manifest).sum()) for split in ("selection", "test")]
    labels = np.load("artifacts/ingest/labels.npy")
    assert sum(anomalous) == (labels > 2).sum()
    share = anomalous[0] / sum(anomalous)
    assert share == pytest.approx(FRACTIONS["selection"] / (FRACTIONS["selection"] + FRACTIONS["test"]), abs=0.05)


def test_shares_are_kept_to_within_chance() -> None:
    manifest = digits()
    for split in SPLITS:
        expected = 1797 * FRACTIONS[split]
        assert abs(manifest.size(split) - expected) < 4 * np.sqrt(expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(20, 200), st.integers(0, 100), st.integers(0, 2**32 - 1))
def test_appended_records_move_no_old_one_and_duplicates_stay_together(old: int, new: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    records = generator.integers(0, 3, (old + new, 3), dtype=np.uint8)  # 27 contents: many duplicates
    anomalous = (records.sum(1) % 5) == 0
    own_test = np.zeros(old + new, bool)
    hashes = content_hashes(records, "key")
    before = deal(hashes[:old], anomalous[:old], own_test[:old], FRACTIONS).split
    after = deal(hashes, anomalous, own_test, FRACTIONS).split
    assert np.array_equal(before, after[:old])
    for content in np.unique(records, axis=0):
        assert len(set(after[(records == content).all(1)])) == 1


def test_the_seed_has_no_say_and_the_split_key_has() -> None:
    first = digits().digests
    assert prepare(Params()).digests == first
    assert prepare(Params(split_key="other")).digests != first


def test_a_sources_own_test_split_stays_test_and_what_repeats_it_is_dropped() -> None:
    records = np.arange(40, dtype=np.uint8).reshape(-1, 1)
    records[5] = records[39]
    own_test = np.arange(40) >= 30
    dealt = deal(content_hashes(records, "key"), np.zeros(40, bool), own_test, FRACTIONS)
    assert (dealt.split[own_test] == TEST).all()
    assert not (dealt.split[~own_test] == TEST).any()
    assert dealt.split[5] == DROPPED
    assert dealt.dropped == {"also in the source's test split": 1}


def test_a_content_that_is_normal_here_and_anomalous_there_is_never_trained_on() -> None:
    records = np.repeat(np.arange(50, dtype=np.uint8), 2).reshape(-1, 1)
    anomalous = np.tile([False, True], 50)
    dealt = deal(content_hashes(records, "key"), anomalous, np.zeros(100, bool), FRACTIONS)
    assert set(dealt.split) <= {SPLITS.index("selection"), TEST}
    assert np.array_equal(dealt.split[::2], dealt.split[1::2])


def test_pooling_merges_the_sources_own_test_split() -> None:
    write_idx(Path("raw"), count=400)
    ingest(IngestParams(source="idx", path="raw"))
    theirs = {record.tobytes() for record in read_idx(Path("artifacts/ingest")).parts[1].records}

    def share(split: str) -> float:
        return float(np.mean([record.tobytes() in theirs for record in load_records(split)]))

    assert prepare(Params()).size("test") == 200
    assert [share(split) for split in SPLITS] == [0, 0, 0, 0, 1]
    pooled = prepare(Params(pool=True))
    assert sum(pooled.size(split) for split in SPLITS) == 600
    assert all(0.1 < share(split) < 0.6 for split in SPLITS)


def test_the_manifest_describes_the_arrays() -> None:
    manifest = digits(normal_classes=["1"])
    assert load_manifest() == manifest
    assert (manifest.kind, manifest.item_shape, manifest.dtype) == ("image", [1, 8, 8], "uint8")
    for split in SPLITS:
        records, labels = load_records(split), load_labels(split)
        assert records.dtype == np.uint8
        assert len(records) == len(labels) == manifest.size(split)
    scaled = Scale(manifest)(__import__("torch").from_numpy(np.array(load_records("train"))))
    assert float(scaled.min()) == 0.0
    assert float(scaled.max()) == 1.0


def test_arrays_are_scaled_by_train_statistics() -> None:
    values = np.random.default_rng(0).normal(5, 3, (500, 4))
    values[:, 3] = 7  # constant: must not divide by zero
    array_source(values)
    manifest = prepare(Params())
    train = load_records("train").astype(np.float64)
    assert manifest.scaling.shift == pytest.approx(train.mean(0), rel=1e-6)
    assert manifest.scaling.scale[:3] == pytest.approx(train.std(0)[:3], rel=1e-5)
    assert manifest.scaling.scale[3] == 1.0


BAD = [
    (lambda v: v.__setitem__((7, 1), np.nan), {}, "record 7 holds NaN or infinity"),
    (lambda v: v.__setitem__((9, 0), np.inf), {}, "record 9 holds NaN or infinity"),
    (lambda v: None, {"normal_classes": ["benin"]}, "unknown class 'benin'; did you mean 'benign'? known:"),
    (lambda v: None, {"normal_classes": ["malignant"]}, "prepare.fractions.train: no normal record falls into train"),
]


@pytest.mark.parametrize(("spoil", "params", "message"), BAD)
def test_bad_data_is_refused_and_nothing_is_left(spoil: Any, params: dict[str, Any], message: str) -> None:
    values = np.random.default_rng(0).normal(size=(100, 3))
    spoil(values)
    array_source(values)
    with pytest.raises(UserError) as caught:
        prepare(Params(**params))
    assert message in str(caught.value)
    assert not Path("artifacts/prepare").exists()
    assert not list(Path(".work/tmp").glob("*"))


def test_a_value_outside_the_declared_range_is_refused() -> None:
    ingest(IngestParams(source="digits"))
    images = np.load("artifacts/ingest/images.npy")
    images[3, 0, 0] = 17
    np.save("artifacts/ingest/images.npy", images)
    with pytest.raises(UserError, match=r"record 3 leaves the declared range 0\.\.16"):
        prepare(Params())


def test_without_a_listing_the_raw_data_is_not_complete() -> None:
    with pytest.raises(UserError, match=r"listing\.json: is missing; run `dvc repro ingest` first"):
        prepare(Params())
