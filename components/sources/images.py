"""images: a folder of pictures, flat without labels, or one subfolder for each class, named as the class.

Formats: PNG, JPEG, TIFF, BMP and WebP; the end of a name says what is a picture, its content says of which format.
How a picture becomes a record:

- Orientation: as its EXIF data says.
- Channels: grey stays grey; every other kind (palette, CMYK, all WebP, …) becomes RGB as Pillow's `convert` does it.
  With `ingest.channels: grey` colour becomes luma (ITU-R 601), with `rgb` grey becomes three equal channels.
- Alpha is dropped: what is stored under transparent pixels is taken as it is.
- Depth: 16-bit values are divided by 256, rounding down. 32-bit and signed ones have no known range and are refused.
- Size: with `ingest.image_size` the whole picture is scaled to height x width, smaller or larger, without keeping its
  aspect ratio, by Pillow's bilinear filter (antialiased when it shrinks). Without it all must be of one size.
- A file of several pages or frames is refused, except JPEG with a preview behind the picture.

A corrupt file is one that Pillow cannot decode to its end, or that holds more than Pillow's MAX_IMAGE_PIXELS.
"""

import os
import shutil
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from components.runtime.errors import UserError
from components.sources import Options, Part, RawData, RawFile, Request, Source, refuse_escape

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
_GREY = {"1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N"}
_WITHOUT_RANGE = {"I", "F"}
_WORKERS = min(4, os.cpu_count() or 1)
"""Threads that decode; Pillow lets others run meanwhile. More would only hold more pictures in memory."""
_WINDOW = 4 * _WORKERS
"""Pictures that are decoded ahead of the one that is written."""
_SHOWN = 10
"""Corrupt files that an error names."""
# what Pillow raises on damaged files; an OSError with a number is the machine's and passes through
_CORRUPT = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, AttributeError,
            struct.error, zlib.error)  # fmt: skip


@dataclass(frozen=True)
class Corrupt:
    """A picture that cannot be had."""

    reason: str


def fetch(request: Request) -> Iterator[RawFile]:
    """Every picture of the folder as it is; other files and hidden ones are left where they are.

    Raises:
        UserError: no picture, pictures beside class folders or deeper than these, or a link that leaves the folder.
    """
    folder = request.folder
    names = _names(folder)
    _classes(folder, names)
    for name in names:
        refuse_escape(folder / name, folder)
    for name in names:
        yield RawFile(name, lambda target, path=folder / name: shutil.copyfile(path, target))


def read(raw: Path, options: Options, scratch: Path) -> RawData:
    """One part without a split of its own: records (record, channel, height, width) uint8, in the order of the names.

    Every picture is decoded once, into a file in scratch that is mapped.

    Raises:
        UserError: more corrupt files than `ingest.max_bad_fraction`; pictures that differ in size or channels and no
            rule for it; values deeper than 16 bits; several pages or frames.
    """
    names = _names(raw)
    classes = _classes(raw, names)
    plain, shape, kept, rejected = scratch / "images.uint8", (), [], {}
    with plain.open("wb") as stream, strict(), ThreadPoolExecutor(_WORKERS) as pool:
        for name, result in zip(names, _decoded(pool, raw, names, options), strict=True):
            if isinstance(result, Corrupt):
                rejected[name] = result.reason
                continue
            shape = shape or result.shape
            if result.shape != shape:
                raise _mixture(kept[0], shape, name, result.shape)
            stream.write(np.ascontiguousarray(result).data)
            kept.append(name)
    _check_corrupt(rejected, len(names), options.max_bad_fraction)
    records = np.memmap(plain, np.uint8, "r", 0, (len(kept), *shape))
    labels = np.array([classes.index(_folder_of(name)) for name in kept], np.int64) if classes else None
    return RawData("image", classes, (0.0, 255.0), (Part(None, records, labels),), rejected=rejected)


def recognises(folder: Path) -> bool:
    """Whether a file in it, or in one of its subfolders, is named like a picture."""
    return any(True for _ in _walk(folder))


def version() -> str:
    """The files speak for themselves."""
    return "images"


def _walk(folder: Path) -> Iterator[Path]:
    """Files named like pictures at any depth, and linked folders, which are never entered: they may lead anywhere."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        elif path.is_dir() or path.name.lower().endswith(SUFFIXES):
            yield path


def _names(folder: Path) -> list[str]:
    """Names relative to the folder, sorted, `/` between the parts."""
    names = sorted(path.relative_to(folder).as_posix() for path in _walk(folder))
    if not names:
        raise UserError("ingest.path", f"no image in {folder}", f"expected files that end in {', '.join(SUFFIXES)}")
    odd = next((name for name in names if not _is_utf8(name)), None)
    if odd is not None:
        raise UserError("ingest.path", f"the file name {odd!a} in {folder} is not UTF-8", "rename it")
    return names


def _is_utf8(name: str) -> bool:
    return name.encode(errors="replace") == name.encode(errors="surrogateescape")


def _classes(folder: Path, names: list[str]) -> tuple[str, ...]:
    """The subfolders that hold pictures, sorted; empty where the pictures lie flat."""
    deep = next((name for name in names if name.count("/") > 1), None)
    if deep is not None:
        raise UserError(str(folder / deep), "lies deeper than a class folder", "keep one folder for each class")
    classes = sorted({_folder_of(name) for name in names})
    if "" in classes and len(classes) > 1:
        flat = next(name for name in names if "/" not in name)
        raise UserError(str(folder / flat), f"lies beside class folders ({', '.join(classes[1:3])})",
                        "move it into a class, or all images into one folder")  # fmt: skip
    return tuple(filter(None, classes))


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


@contextmanager
def strict() -> Iterator[None]:
    """Where a decompression bomb is an error, and damaged metadata none."""
    Image.init()  # once, before threads would race for it
    with warnings.catch_warnings():
        # other warnings tell of damaged metadata, which no record is made of
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decoded(pool: Executor, raw: Path, names: list[str], options: Options) -> Iterator[np.ndarray | Corrupt]:
    """(channel, height, width) uint8 for each name, or why it cannot be had, in the order of the names."""
    waiting: deque[Future[np.ndarray | Corrupt]] = deque()
    for name in names:
        waiting.append(pool.submit(decode, raw / name, options))
        if len(waiting) == _WINDOW:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def decode(path: Path, options: Options) -> np.ndarray | Corrupt:
    """(channel, height, width) uint8 of one picture, or why it cannot be had; needs `strict` around it.

    Raises:
        UserError: values deeper than 16 bits; several pages or frames.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_form(path, image)
            ImageOps.exif_transpose(image, in_place=True)
            return _to_record(_to_8_bits(image), options)
    except Image.UnidentifiedImageError:  # its own words hold an address in memory
        return Corrupt("no image, or damaged in its head" if path.stat().st_size else "an empty file")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Corrupt(f"a decompression bomb of more than {Image.MAX_IMAGE_PIXELS:,} pixels")
    except _CORRUPT as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return Corrupt(str(error) or type(error).__name__)


def _check_form(path: Path, image: Image.Image) -> None:
    if image.mode in _WITHOUT_RANGE:
        raise UserError(str(path), "holds 32-bit or signed values", "convert it to 8 or 16 bits")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # what JPEG with a preview is called
        raise UserError(str(path), f"holds {frames} pages or frames", "save each as an image of its own")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """The same picture as mode L or RGB."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("L" if image.mode in _GREY else "RGB")


def _to_record(image: Image.Image, options: Options) -> np.ndarray:
    if options.channels != "auto":
        image = image.convert("L" if options.channels == "grey" else "RGB")
    if options.image_size is not None:
        height, width = options.image_size
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _mixture(first: str, shape: tuple[int, ...], other: str, found: tuple[int, ...]) -> UserError:
    (channels, *size), (other_channels, *other_size) = shape, found
    if channels != other_channels:
        words = {1: "grey", 3: "colour"}
        return UserError("ingest.channels", f"{first} is {words[channels]} and {other} is {words[other_channels]}",
                         "set it to grey or rgb to bring all to the same")  # fmt: skip
    return UserError(
        "ingest.image_size",
        f"{first} is {size[0]}x{size[1]} (height x width) and {other} is {other_size[0]}x{other_size[1]}",
        "set it to bring all to one size",
    )


def _check_corrupt(rejected: dict[str, str], count: int, allowed: float) -> None:
    share = len(rejected) / count
    if share > allowed:
        first = ", ".join(f"{name} ({reason})" for name, reason in list(rejected.items())[:_SHOWN])
        more = f", and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
        what = f"{len(rejected)} of {count} images are corrupt (share {share:.3g}, allowed {allowed:g})"
        raise UserError("ingest.max_bad_fraction", f"{what}: {first}{more}",
                        "mend or remove them, or allow more")  # fmt: skip


SOURCE = Source(
    "a folder of pictures, or one folder for each class", fetch, read, version, needs_path=True, recognises=recognises
)
