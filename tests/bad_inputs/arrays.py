"""Arrays of NumPy that are damaged, unsafe or of no shape that can be used."""

import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bad_inputs import Case

ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5), dtype=np.uint8)
LABELS = np.arange(40) % 2


def npy_bytes(values: np.ndarray) -> bytes:
    """The array as a file's content."""
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def npz_bytes(members: Mapping[str, bytes]) -> bytes:
    """An archive with these very member names."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _files(**contents: bytes) -> Callable[[Path], None]:
    """Files named by the keyword; the last underscore is the dot."""

    def make(folder: Path) -> None:
        for name, content in contents.items():
            (folder / ".".join(name.rsplit("_", 1))).write_bytes(content)

    return make


def _x(values: np.ndarray) -> Callable[[Path], None]:
    return _files(x_npy=npy_bytes(values))


def _twice() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("x.npy", npy_bytes(ROWS))
        archive.writestr("x.npy", npy_bytes(ROWS))
    return stream.getvalue()


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


def _changed(values: np.ndarray, row: int, value: float) -> np.ndarray:
    changed = values.copy()
    changed[row, 1] = value
    return changed


def _link(folder: Path) -> None:
    (folder / "../elsewhere.npy").write_bytes(npy_bytes(ROWS))
    (folder / "x.npy").symlink_to("../elsewhere.npy")


def _case(name: str, make: Callable[[Path], object], error: str, **prepare: Any) -> Case:
    return Case(f"npz: {name}", make, error, {"source": "npz"}, prepare)


CASES = [
    Case(
        "npz: another kind of file",
        lambda folder: (folder / "x.csv").write_text("1,2"),
        "ingest.path: data/x.csv is no .npz or .npy file; name one, or a folder of them",
        {"source": "npz", "path": "data/x.csv"},
    ),
    _case(
        "empty folder", _files(), "ingest.path: data holds no array x; name its arrays x, labels, test_x, test_labels"
    ),
    _case(
        "missing array",
        _files(labels_npy=npy_bytes(LABELS)),
        "ingest.path: data holds no array x; name its arrays x, labels, test_x, test_labels",
    ),
    _case(
        "unknown array",
        _files(x_npy=npy_bytes(ROWS), label_npy=npy_bytes(LABELS)),
        "data/label.npy: unknown array 'label'; did you mean 'labels'? known: labels, test_labels, test_x, x",
    ),
    _case(
        "two archives",
        _files(a_npz=npz_bytes({"x.npy": b""}), b_npz=npz_bytes({"x.npy": b""})),
        "ingest.path: data holds a.npz, b.npz; keep one .npz, or .npy files alone",
    ),
    _case(
        "object array",
        _x(np.array([[1, "a"], [None, 2]], object)),
        "data/x.npy: holds Python objects, which are never unpickled; save numbers or strings of one type",
    ),
    _case(
        "object array in an archive",
        _files(a_npz=npz_bytes({"x.npy": npy_bytes(ROWS.astype(object))})),
        "data/a.npz, array x: holds Python objects, which are never unpickled; save numbers or strings of one type",
    ),
    _case(
        "path traversal",
        _files(a_npz=npz_bytes({"x.npy": npy_bytes(ROWS), "../x.npy": npy_bytes(ROWS)})),
        "data/a.npz: its member '../x.npy' is a path, no name of an array; write it again with numpy.savez",
    ),
    _case(
        "absolute member",
        _files(a_npz=npz_bytes({"/x.npy": npy_bytes(ROWS)})),
        "data/a.npz: its member '/x.npy' is a path, no name of an array; write it again with numpy.savez",
    ),
    _case(
        "array twice", _files(a_npz=_twice()), "data/a.npz: holds the array x twice; write it again with numpy.savez"
    ),
    _case(
        "text named .npz",
        _files(a_npz=b"no archive"),
        "data/a.npz: is no .npz file, or truncated; write it again with numpy.savez",
    ),
    _case(
        "truncated npz",
        _files(a_npz=npz_bytes({"x.npy": npy_bytes(ROWS)})[:-30]),
        "data/a.npz: is no .npz file, or truncated; write it again with numpy.savez",
    ),
    _case(
        "damaged member",
        _files(a_npz=_flip(npz_bytes({"x.npy": npy_bytes(ROWS)}), 300)),
        "data/a.npz, array x: cannot be unpacked (Bad CRC-32 for file 'x.npy'); write the archive again",
    ),
    _case(
        "text named .npy",
        _files(x_npy=b"1.0, 2.0"),
        "data/x.npy: is no .npy file, or damaged in its head; save it with numpy.save",
    ),
    _case(
        "truncated head",
        _files(x_npy=npy_bytes(ROWS)[:40]),
        "data/x.npy: is no .npy file, or damaged in its head; save it with numpy.save",
    ),
    _case(
        "head without its bracket",
        _files(x_npy=npy_bytes(ROWS).replace(b"}", b" ")),
        "data/x.npy: is no .npy file, or damaged in its head; save it with numpy.save",
    ),
    _case(
        "truncated npy",
        _files(x_npy=npy_bytes(ROWS)[:-7]),
        "data/x.npy: is truncated: 473 bytes of values instead of 480; save it again",
    ),
    _case(
        "bytes behind the end",
        _files(x_npy=npy_bytes(ROWS) + b"\0"),
        "data/x.npy: has bytes behind its end: 481 bytes of values instead of 480; save it again",
    ),
    _case("link that leaves the folder", _link, "data/x.npy: is a link that leaves data; put the file itself there"),
    _case(
        "labels of other length",
        _files(x_npy=npy_bytes(ROWS), labels_npy=npy_bytes(LABELS[:-1])),
        "data/labels.npy: holds 39 labels for 40 records; use the labels that belong to the records",
    ),
    _case(
        "labels of two axes",
        _files(x_npy=npy_bytes(ROWS), labels_npy=npy_bytes(ROWS)),
        "data/labels.npy: holds float32 of shape (40, 3), labels are whole numbers or strings (record,); "
        "store one for each record",
    ),
    _case(
        "labels for one part only",
        _files(x_npy=npy_bytes(ROWS), test_x_npy=npy_bytes(ROWS + 1), labels_npy=npy_bytes(LABELS)),
        "data/test_x.npy: only one of x and test_x has labels; add them, or none",
    ),
    _case(
        "test labels alone",
        _files(x_npy=npy_bytes(ROWS), test_labels_npy=npy_bytes(LABELS)),
        "data/test_labels.npy: has no records beside it; add test_x, or remove it",
    ),
    _case(
        "labels of two types",
        _files(
            x_npy=npy_bytes(ROWS),
            test_x_npy=npy_bytes(ROWS + 1),
            labels_npy=npy_bytes(LABELS),
            test_labels_npy=npy_bytes(LABELS.astype(str)),
        ),
        "data/test_labels.npy: holds <U21 of shape (40,), and labels is of another type; "
        "store both as numbers or as strings",
    ),
    _case(
        "test records of another shape",
        _files(x_npy=npy_bytes(ROWS), test_x_npy=npy_bytes(ROWS[:, :2])),
        "data/test_x.npy: holds float32 of shape (40, 2), and x is of shape (40, 3); "
        "store records of one shape in both",
    ),
    _case("NaN", _x(_changed(ROWS, 7, np.nan)), "artifacts/ingest: record 7 holds NaN or infinity; mend or remove it"),
    _case(
        "infinity", _x(_changed(ROWS, 9, np.inf)), "artifacts/ingest: record 9 holds NaN or infinity; mend or remove it"
    ),
    _case(
        "beyond float32",
        _x(_changed(ROWS.astype(np.float64), 9, 1e300)),
        "artifacts/ingest/x.npy: holds float64 of shape (40, 3), some of them beyond the range of float32; scale them",
    ),
    _case(
        "one axis",
        _x(ROWS[:, 0]),
        "data/x.npy: holds float32 of shape (40,), neither uint8 images nor numbers (record, column); "
        "scale images to 0..255 and store them as uint8, flatten other records to columns",
    ),
    _case(
        "five axes",
        _x(IMAGES[:, None, None]),
        "data/x.npy: holds uint8 of shape (40, 1, 1, 6, 5), neither uint8 images nor numbers (record, column); "
        "scale images to 0..255 and store them as uint8, flatten other records to columns",
    ),
    _case(
        "float images",
        _x(IMAGES / 255),
        "data/x.npy: holds float64 of shape (40, 6, 5), neither uint8 images nor numbers (record, column); "
        "scale images to 0..255 and store them as uint8, flatten other records to columns",
    ),
    _case(
        "two channels",
        _x(np.stack([IMAGES, IMAGES], 1)),
        "data/x.npy: holds uint8 of shape (40, 2, 6, 5), neither axis 1 nor axis 3 is 1 or 3 channels; "
        "store grey or RGB images",
    ),
    _case("no records", _x(ROWS[:0]), "data/x.npy: holds float32 of shape (0, 3), which is nothing; add records"),
    _case("no columns", _x(ROWS[:, :0]), "data/x.npy: holds float32 of shape (40, 0), which is nothing; add records"),
    _case(
        "complex numbers",
        _x(ROWS.astype(np.complex64)),
        "data/x.npy: holds complex64 of shape (40, 3), neither uint8 images nor numbers (record, column); "
        "scale images to 0..255 and store them as uint8, flatten other records to columns",
    ),
    _case(
        "strings",
        _x(ROWS.astype(str)),
        "data/x.npy: holds <U32 of shape (40, 3), neither uint8 images nor numbers (record, column); "
        "scale images to 0..255 and store them as uint8, flatten other records to columns",
    ),
    _case(
        "one record",
        _x(ROWS[:1]),
        "prepare.fractions.validation: no normal record falls into validation (1 records in all); "
        "give it a larger share, or add records",
    ),
    _case(
        "identical records",
        _x(np.repeat(ROWS[:1], 40, 0)),
        "artifacts/ingest: its 40 records are all identical; check how they were made",
    ),
    _case(
        "every record anomalous",
        _files(
            x_npy=npy_bytes(ROWS),
            labels_npy=npy_bytes(LABELS * 0),
            test_x_npy=npy_bytes(ROWS + 1),
            test_labels_npy=npy_bytes(LABELS * 0 + 1),
        ),
        "prepare.fractions.train: no normal record falls into train (80 records in all); "
        "give it a larger share, or add records",
        normal_classes=["1"],
    ),
    _case(
        "unknown class",
        _files(x_npy=npy_bytes(ROWS), labels_npy=npy_bytes(LABELS)),
        "prepare.normal_classes: unknown class 'good'; known: 0, 1",
        normal_classes=["good"],
    ),
]
