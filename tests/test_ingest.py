"""Raw data arrives as found, complete or not at all, and a damaged source is refused with one line.

Reference: the files themselves; idx files are written here byte by byte as the format says.
"""

import gzip
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components import sources
from components.ingest import ingest
from components.params import validate
from components.params.ingest import Params
from components.runtime.errors import UserError
from components.sources import Options, RawData, idx


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(tmp_path: Path, in_directory: Callable[[Path], None]) -> None:
    in_directory(tmp_path)


def idx_bytes(values: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return head + values.astype(np.uint8).tobytes()


def read_idx(folder: Path) -> RawData:
    scratch = Path("scratch")
    scratch.mkdir(exist_ok=True)
    return idx.read(folder, Options(), scratch)


def write_idx(folder: Path, count: int = 6, zipped: bool = False, classes: int = 10) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for split, size in (("train", count), ("t10k", count // 2)):
        images, labels = generator.integers(0, 256, (size, 5, 4)), np.arange(size) % classes
        for name, values in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            content = idx_bytes(values)
            path = folder / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def test_listing_names_every_file_with_size_and_digest() -> None:
    listing = ingest(Params(source="digits"))
    out = Path("artifacts/ingest")
    assert json.loads((out / "listing.json").read_text()) == listing
    assert {path.name for path in out.iterdir()} == {*listing["files"], "listing.json"}
    for name, entry in listing["files"].items():
        content = (out / name).read_bytes()
        assert entry == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_syncing_again_leaves_equal_files_alone_and_removes_what_the_source_no_longer_has() -> None:
    folder = write_idx(Path("raw"))
    ingest(Params(source="idx", path="raw"))
    kept = Path("artifacts/ingest/train-images-idx3-ubyte")
    inode = kept.stat().st_ino
    for path in folder.glob("t10k*"):
        path.unlink()
    listing = ingest(Params(source="idx", path="raw"))
    assert kept.stat().st_ino == inode
    assert sorted(listing["files"]) == ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]
    assert not list(Path("artifacts/ingest").glob("t10k*"))


def test_a_refused_source_leaves_the_data_that_is_there() -> None:
    ingest(Params(source="digits"))
    with pytest.raises(UserError, match="is no folder"):
        ingest(Params(source="idx", path="typo"))
    assert Path("artifacts/ingest/listing.json").exists()


def test_an_interrupted_sync_is_not_taken_for_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(Params(source="digits"))

    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("components.ingesting.syncing.sha256", break_off)
    with pytest.raises(KeyboardInterrupt):
        ingest(Params(source="digits"))
    assert not Path("artifacts/ingest/listing.json").exists()
    assert not [path for path in Path(".work/tmp").iterdir() if path.is_file()]


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_is_read_as_written(zipped: bool) -> None:
    write_idx(Path("raw"), count=12, zipped=zipped)
    ingest(Params(source="idx", path="raw"))
    raw = read_idx(Path("artifacts/ingest"))
    assert [part.split for part in raw.parts] == ["train", "test"]
    assert raw.parts[0].records.shape == (12, 1, 5, 4)
    assert raw.classes == tuple("0123456789")
    assert np.array_equal(raw.parts[0].labels, np.arange(12) % 10)


def test_idx_may_hold_more_than_ten_classes() -> None:
    write_idx(Path("raw"), count=47, classes=47)
    assert len(read_idx(Path("raw")).classes) == 47


def test_embedded_sources_hold_what_scikit_learn_holds() -> None:
    from sklearn.datasets import load_breast_cancer, load_digits

    for name, expected in (("digits", load_digits().images), ("breast_cancer", load_breast_cancer().data)):
        ingest(Params(source=name))
        raw = sources.find(name).read(Path("artifacts/ingest"), Options(), Path("scratch"))
        records = raw.parts[0].records.reshape(expected.shape)
        assert np.allclose(records, expected, rtol=1e-6)


def test_torchvision_reads_an_existing_root(monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(Path("data/MNIST/raw"), count=8)
    ingest(validate(Params, {"source": "torchvision:MNIST", "path": "data"}, "ingest"))
    raw = sources.find("torchvision:MNIST").read(Path("artifacts/ingest"), Options(), Path("scratch"))
    assert [part.records.shape for part in raw.parts] == [(8, 1, 5, 4), (4, 1, 5, 4)]
    assert raw.classes[3] == "3 - three"


def damage(path: str, change: Callable[[bytes], bytes]) -> None:
    target = write_idx(Path("raw")) / path
    target.write_bytes(change(target.read_bytes()))


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BAD_IDX: list[tuple[str, Callable[[], object], str]] = [
    ("missing folder", lambda: None, "ingest.path: raw is no folder; name the folder that holds the data"),
    ("empty folder", lambda: Path("raw").mkdir(), "ingest.path: no idx training images in raw"),
    ("no idx", lambda: damage(IMAGES, lambda b: b"PNG!" + b), "is no idx file"),
    ("truncated", lambda: damage(IMAGES, lambda b: b[:-7]), "is truncated: 113 values for shape 6x5x4"),
    ("truncated head", lambda: damage(IMAGES, lambda b: b[:9]), "is truncated inside its head"),
    ("too long", lambda: damage(IMAGES, lambda b: b + b"x"), "has bytes behind its end"),
    ("other type", lambda: damage(IMAGES, lambda b: b[:2] + b"\x0d" + b[3:]), "only unsigned bytes (0x08) are read"),
    ("labels as images", lambda: damage(IMAGES, lambda _: idx_bytes(np.arange(6))), "holds 1 dimensions instead of 3"),
    ("zero size", lambda: damage(IMAGES, lambda _: idx_bytes(np.zeros((6, 0, 4)))), "its shape is 6x0x4"),
    ("count", lambda: damage(LABELS, lambda _: idx_bytes(np.arange(5))), "holds 5 labels for 6 images"),
    ("truncated gzip", lambda: damage(IMAGES, lambda b: gzip.compress(b)[:-9]), "is a truncated gzip file"),
    ("no labels", lambda: (write_idx(Path("raw")) / LABELS).unlink(), "the train images have no labels"),
    ("two of a kind", lambda: (write_idx(Path("raw")), write_idx(Path("raw"), zipped=True)), "is a second file of"),
]


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in BAD_IDX], ids=[case[0] for case in BAD_IDX])
def test_a_bad_idx_folder_is_refused(make: Callable[[], object], message: str) -> None:
    make()
    with pytest.raises(UserError) as caught:
        ingest(Params(source="idx", path="raw"))
        read_idx(Path("artifacts/ingest"))
    assert message in str(caught.value)


def test_a_damaged_torchvision_root_says_so() -> None:
    for path in write_idx(Path("data/MNIST/raw")).iterdir():
        path.write_bytes(b"8 bytes.")
    with pytest.raises(UserError, match="the MNIST files below data are damaged"):
        ingest(Params(source="torchvision:MNIST", path="data"))


def test_torchvision_without_files_and_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", refuse)
    with pytest.raises(UserError, match="no complete MNIST below data, and it cannot be downloaded"):
        ingest(Params(source="torchvision:MNIST", path="data"))
