"""Folders of pictures that are damaged, misplaced or do not fit together."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bad_inputs import Case


def png_bytes(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A grey PNG made by hand, whose head may promise what its pixels do not hold."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def picture(seed: int = 0, size: tuple[int, int] = (6, 5), mode: str = "L") -> Image.Image:
    """Noise of (height, width)."""
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file's content."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def lay(files: Mapping[str, bytes]) -> Callable[[Path], None]:
    """Writes files by their names."""

    def make(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    return make


def pictures(count: int, folder: str = "", **options: Any) -> dict[str, bytes]:
    """That many different pictures."""
    return {f"{folder}{number:02}.png": encoded(picture(number, **options)) for number in range(count)}


def _link(name: str, target: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        lay({"0.png": GOOD, "../elsewhere/1.png": GOOD})(folder)
        (folder / name).symlink_to(target)

    return make


GOOD = encoded(picture())
_UNKNOWN = "no image, or damaged in its head"
_ALLOW = "mend or remove them, or allow more"
_ENDS = "expected files that end in .png, .jpg, .jpeg, .tif, .tiff, .bmp, .webp"


def _case(
    name: str, make: Callable[[Path], object], error: str, prepare: Mapping[str, Any] | None = None, **ingest: Any
) -> Case:
    return Case(f"images: {name}", make, error, {"source": "images", **ingest}, prepare or {})


def _corrupt(name: str, content: bytes, reason: str, file: str = "bad.png") -> Case:
    error = f"ingest.max_bad_fraction: 1 of 2 images are corrupt (share 0.5, allowed 0): {file} ({reason}); {_ALLOW}"
    return _case(name, lay({"00.png": GOOD, file: content}), error)


CASES = [
    _case("empty folder", lay({}), f"ingest.path: no image in data; {_ENDS}"),
    _case(
        "folder without images",
        lay({"README.md": b"pictures", "a/notes.txt": b"none yet", ".thumbnail.png": GOOD}),
        f"ingest.path: no image in data; {_ENDS}",
    ),
    _corrupt("truncated PNG", GOOD[:-40], "image file is truncated"),
    _corrupt("truncated JPEG", encoded(picture(), "JPEG")[:-60], "Truncated File Read", "bad.jpg"),
    _corrupt("text named .jpg", b"a cat, sleeping", _UNKNOWN, "bad.jpg"),
    _corrupt("another format named .png", encoded(picture(), "GIF"), _UNKNOWN),
    _corrupt("empty file", b"", "an empty file"),
    _corrupt("0x0 pixels", png_bytes(0, 0), _UNKNOWN),
    _corrupt("decompression bomb", png_bytes(10_000, 10_000), "a decompression bomb of more than 89,478,485 pixels"),
    _corrupt(
        "larger decompression bomb", png_bytes(60_000, 60_000), "a decompression bomb of more than 89,478,485 pixels"
    ),
    _case(
        "too many corrupt files",
        lay({**pictures(28), **{f"bad{number:02}.jpg": b"" for number in range(12)}}),
        "ingest.max_bad_fraction: 12 of 40 images are corrupt (share 0.3, allowed 0.29): "
        + ", ".join(f"bad{number:02}.jpg (an empty file)" for number in range(10))
        + f", and 2 more; {_ALLOW}",
        max_bad_fraction=0.29,
    ),
    _case(
        "nothing but corrupt files",
        lay({"a.png": b"", "b.png": b"text"}),
        "ingest.max_bad_fraction: 2 of 2 images are corrupt (share 1, allowed 0.9): "
        f"a.png (an empty file), b.png ({_UNKNOWN}); {_ALLOW}",
        max_bad_fraction=0.9,
    ),
    _case(
        "mixed channels",
        lay({"a.png": GOOD, "b.png": encoded(picture(1, mode="RGB"))}),
        "ingest.channels: a.png is grey and b.png is colour; set it to grey or rgb to bring all to the same",
    ),
    _case(
        "mixed sizes",
        lay({"a.png": GOOD, "b.png": encoded(picture(1, (7, 5)))}),
        "ingest.image_size: a.png is 6x5 (height x width) and b.png is 7x5; set it to bring all to one size",
    ),
    _case(
        "32-bit values",
        lay({"a.tif": encoded(picture(mode="F"), "TIFF")}),
        "artifacts/ingest/a.tif: holds 32-bit or signed values; convert it to 8 or 16 bits",
    ),
    _case(
        "pages",
        lay({"a.tif": encoded(picture(), "TIFF", save_all=True, append_images=[picture(1)])}),
        "artifacts/ingest/a.tif: holds 2 pages or frames; save each as an image of its own",
    ),
    _case(
        "beside class folders",
        lay({**pictures(3, "cat/"), **pictures(3, "dog/"), "stray.png": GOOD}),
        "data/stray.png: lies beside class folders (cat, dog); move it into a class, or all images into one folder",
    ),
    _case(
        "deeper than a class folder",
        lay(pictures(2, "cat/young/")),
        "data/cat/young/00.png: lies deeper than a class folder; keep one folder for each class",
    ),
    _case(
        "link that leaves the folder",
        _link("1.png", "../elsewhere/1.png"),
        "data/1.png: is a link that leaves data; put the file itself there",
    ),
    _case(
        "folder link that leaves the folder",
        _link("more", "../elsewhere"),
        "data/more: is a link that leaves data; put the file itself there",
    ),
    _case(
        "link to nothing",
        _link("1.png", "missing.png"),
        "data/1.png: is no file (a link to a folder or to nothing); put the files themselves there",
    ),
    _case(
        "link to its own folder",
        _link("loop", "."),
        "data/loop: is no file (a link to a folder or to nothing); put the files themselves there",
    ),
    _case(
        "file name that is not UTF-8",
        lambda folder: lay({"b\udcff.png": GOOD})(folder),
        "ingest.path: the file name 'b\\udcff.png' in data is not UTF-8; rename it",
    ),
    _case(
        "one record",
        lay(pictures(1)),
        "prepare.fractions.train: no normal record falls into train (1 records in all); "
        "give it a larger share, or add records",
    ),
    _case(
        "identical records",
        lay({f"{number}.png": GOOD for number in range(9)}),
        "artifacts/ingest: its 9 records are all identical; check how they were made",
    ),
    _case(
        "unknown class",
        lay({**pictures(20, "cat/"), **pictures(20, "dog/")}),
        "prepare.normal_classes: unknown class 'cats'; did you mean 'cat'? known: cat, dog",
        {"normal_classes": ["cats"]},
    ),
    _case(
        "normal classes without labels",
        lay(pictures(20)),
        "prepare.normal_classes: is set and the data has no labels; set it to null",
        {"normal_classes": ["cat"]},
    ),
    _case(
        "every record anomalous",
        lay({**pictures(20, "dog/"), "cat/0.png": b""}),
        "prepare.fractions.train: no normal record falls into train (20 records in all); "
        "give it a larger share, or add records",
        {"normal_classes": ["cat"]},
        max_bad_fraction=0.1,
    ),
]
