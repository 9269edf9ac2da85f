"""Arrays are read as NumPy stored them, mapped and not loaded, from .npy files and archives alike.

Reference: the arrays that were stored, and NumPy's own conversion to float32.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_inputs.arrays import IMAGES, LABELS, ROWS

from components.ingest import ingest
from components.params.ingest import Params
from components.params.prepare import Params as PrepareParams
from components.prepare import prepare
from components.sources import Options, RawData, npz

Store = Callable[..., None]


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(tmp_path: Path, in_directory: Callable[[Path], None]) -> None:
    in_directory(tmp_path)


def as_files(**arrays: np.ndarray) -> None:
    Path("raw").mkdir()
    for name, values in arrays.items():
        np.save(f"raw/{name}.npy", values)


def as_archive(**arrays: np.ndarray) -> None:
    Path("raw").mkdir()
    np.savez("raw/data.npz", **arrays)


def as_compressed_archive(**arrays: np.ndarray) -> None:
    Path("raw").mkdir()
    np.savez_compressed("raw/data.npz", **arrays)


def read(path: str = "raw") -> RawData:
    """What arrives in artifacts/ingest, understood."""
    ingest(Params(source="npz", path=path))
    Path("scratch").mkdir()
    return npz.read(Path("artifacts/ingest"), Options(), Path("scratch"))


ways = pytest.mark.parametrize("store", [as_files, as_archive, as_compressed_archive])


@ways
def test_numbers_are_arrays_and_labels_are_classes(store: Store) -> None:
    store(x=ROWS, labels=LABELS)
    raw = read()
    (part,) = raw.parts
    assert (raw.kind, raw.classes, raw.value_range, part.split) == ("array", ("0", "1"), None, None)
    assert isinstance(part.records, np.memmap)
    assert part.records.dtype == np.float32
    assert np.array_equal(part.records, ROWS)
    assert np.array_equal(part.labels, LABELS)


@ways
def test_a_test_part_stays_test(store: Store) -> None:
    store(x=ROWS, labels=LABELS, test_x=ROWS[:5] + 1, test_labels=np.arange(5))
    raw = read()
    assert [part.split for part in raw.parts] == ["train", "test"]
    assert raw.classes == ("0", "1", "2", "3", "4")
    assert np.array_equal(raw.parts[1].records, ROWS[:5] + 1)
    assert np.array_equal(raw.parts[1].labels, np.arange(5))


COLOUR = np.random.default_rng(1).integers(0, 256, (8, 3, 6, 5), dtype=np.uint8)
LAYOUTS: list[tuple[str, np.ndarray, np.ndarray]] = [
    ("grey without a channel axis", IMAGES, IMAGES[:, None]),
    ("grey, channels first", IMAGES[:, None], IMAGES[:, None]),
    ("grey, channels last", IMAGES[..., None], IMAGES[:, None]),
    ("colour, channels first", COLOUR, COLOUR),
    ("colour, channels last", COLOUR.transpose(0, 2, 3, 1).copy(), COLOUR),
    ("both axes possible: first", COLOUR[..., :3], COLOUR[..., :3]),
    ("columns first in memory", np.asfortranarray(COLOUR), COLOUR),
]


@pytest.mark.parametrize(("stored", "expected"), [row[1:] for row in LAYOUTS], ids=[row[0] for row in LAYOUTS])
def test_bytes_of_three_or_four_axes_are_images(stored: np.ndarray, expected: np.ndarray) -> None:
    as_files(x=stored)
    raw = read()
    assert (raw.kind, raw.value_range, raw.classes) == ("image", (0.0, 255.0), ())
    assert np.array_equal(raw.parts[0].records, expected)


@pytest.mark.parametrize("dtype", ["f8", "f2", ">f4", "i8", "u1", "?"])
def test_every_type_of_number_is_converted_block_by_block(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "_BLOCK_BYTES", 100)
    values = (ROWS * 50).clip(0).astype(dtype)
    as_files(x=values)
    (part,) = read().parts
    assert part.records.dtype == np.float32
    assert isinstance(part.records, np.memmap)
    assert np.array_equal(part.records, values.astype(np.float32))


def test_float32_is_mapped_from_where_it_lies() -> None:
    as_files(x=ROWS)
    read()
    assert not list(Path("scratch").iterdir())


def test_whole_numbers_are_sorted_by_value_and_strings_by_letter() -> None:
    as_files(x=ROWS[:3], labels=np.array([10, 9, 10]))
    assert read().classes == ("9", "10")


def test_labels_may_be_strings() -> None:
    as_files(x=ROWS[:3], labels=np.array(["ok", "cracked", "ok"]))
    raw = read()
    assert raw.classes == ("cracked", "ok")
    assert raw.parts[0].labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("name", ["embeddings.npy", "data.npz"])
def test_the_path_may_be_one_file(name: str) -> None:
    np.save(name, ROWS) if name.endswith(".npy") else np.savez(name, x=ROWS)
    assert np.array_equal(read(name).parts[0].records, ROWS)


def test_other_files_are_left_where_they_are() -> None:
    as_files(x=ROWS)
    Path("raw/README.md").write_text("about x")
    Path("raw/.x.npy").write_text("left by an editor")
    read()
    assert sorted(path.name for path in Path("artifacts/ingest").iterdir()) == ["listing.json", "x.npy"]


def test_arrays_are_recognised_by_their_names() -> None:
    as_files(x=ROWS)
    Path("other").mkdir()
    assert npz.recognises(Path("raw"))
    assert not npz.recognises(Path("other"))


def test_an_archive_is_prepared_like_the_files_it_holds() -> None:
    digests = []
    for number, store in enumerate((as_files, as_archive)):
        Path("raw").exists() and Path("raw").rename(f"raw-{number}")
        store(x=COLOUR.repeat(10, 0) + np.arange(80, dtype=np.uint8)[:, None, None, None])
        ingest(Params(source="npz", path="raw"))
        digests.append(prepare(PrepareParams()).digests)
    assert digests[0] == digests[1]
