"""Pictures become records as the docstring of the source says, whatever their format, kind and order on disk.

Reference: Pillow's own decoding, conversion and resizing of the same picture, and arithmetic where a rule is ours.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_inputs.images import GOOD, encoded, lay, picture, pictures
from PIL import Image

from components.ingest import ingest
from components.params.ingest import Params
from components.params.prepare import Params as PrepareParams
from components.prepare import prepare
from components.runtime.errors import UserError
from components.sources import Options, RawData, Request, images

RAW = Path("raw")


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(tmp_path: Path, in_directory: Callable[[Path], None]) -> None:
    in_directory(tmp_path)


def read(files: Mapping[str, bytes], **options: Any) -> RawData:
    """What the source makes of a folder of these files."""
    lay(files)(RAW)
    Path("scratch").mkdir()
    return images.read(RAW, Options(**options), Path("scratch"))


def record(content: bytes, **options: Any) -> np.ndarray:
    """The one record (channel, height, width) of a folder with this file; its suffix decides nothing."""
    (values,) = read({"one.png": content}, **options).parts[0].records
    return values


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {}), ("TIFF", {"compression": "tiff_lzw"}), ("BMP", {}), ("WEBP", {"lossless": True})],
)
def test_every_format_is_read_as_pillow_reads_it(kind: str, options: dict[str, Any], mode: str) -> None:
    content = encoded(picture(mode=mode), kind, **options)
    found = record(content, channels="grey" if mode == "L" else "rgb")
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert(mode))
    assert found.shape == ((1, 6, 5) if mode == "L" else (3, 6, 5))
    assert found.dtype == np.uint8
    assert np.array_equal(found.transpose(1, 2, 0).squeeze(), expected)


COLOUR, GREY = picture(mode="RGB"), picture(mode="L")
ALPHA = Image.merge("RGBA", [*COLOUR.split(), GREY])
BILEVEL, PALETTE, CMYK = GREY.convert("1"), COLOUR.quantize(8), COLOUR.convert("CMYK")
KINDS: list[tuple[str, bytes, np.ndarray]] = [
    ("bilevel is grey, 0 and 255", encoded(BILEVEL), np.asarray(BILEVEL) * np.uint8(255)),
    ("palette is colour", encoded(PALETTE), np.asarray(PALETTE.convert("RGB"))),
    ("palette with a transparent entry", encoded(PALETTE, transparency=0), np.asarray(PALETTE.convert("RGB"))),
    ("CMYK is colour", encoded(CMYK, "TIFF"), np.asarray(CMYK.convert("RGB"))),
    ("alpha is dropped from colour", encoded(ALPHA), np.asarray(COLOUR)),
    ("alpha is dropped from grey", encoded(Image.merge("LA", [GREY, GREY])), np.asarray(GREY)),
]


@pytest.mark.parametrize(("content", "expected"), [kind[1:] for kind in KINDS], ids=[kind[0] for kind in KINDS])
def test_kinds_of_pixels_become_grey_or_colour(content: bytes, expected: np.ndarray) -> None:
    assert np.array_equal(record(content).transpose(1, 2, 0).squeeze(), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_divided_by_256(kind: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (6, 5), dtype=np.uint16)
    assert np.array_equal(record(encoded(Image.fromarray(deep), kind))[0], deep // 256)


@pytest.mark.parametrize(("orientation", "turn"), [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1))])
def test_exif_orientation_is_applied(orientation: int, turn: Callable[[np.ndarray], np.ndarray]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = record(encoded(GREY, exif=exif))
    assert np.array_equal(found[0], turn(np.asarray(GREY)))


def test_the_picture_in_front_of_a_preview_is_read() -> None:
    content = encoded(GREY, "MPO", save_all=True, append_images=[picture(1)])
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(record(content)[0], np.asarray(image))


@pytest.mark.parametrize("size", [(3, 2), (16, 9), (6, 5)], ids=["smaller", "larger", "same"])
def test_the_whole_picture_is_scaled_by_the_bilinear_filter(size: tuple[int, int]) -> None:
    expected = GREY.resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(record(GOOD, image_size=size)[0], np.asarray(expected))


def test_shrinking_is_antialiased() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    small = record(encoded(Image.fromarray(board.astype(np.uint8))), image_size=(8, 8))
    assert np.abs(small.astype(int) - 127).max() <= 2  # a chessboard from afar is grey


def test_sizes_may_differ_with_an_image_size() -> None:
    raw = read({"a.png": GOOD, "b.png": encoded(picture(1, (9, 4)))}, image_size=(8, 8))
    assert raw.parts[0].records.shape == (2, 1, 8, 8)


@pytest.mark.parametrize(("channels", "mode"), [("grey", "L"), ("rgb", "RGB")])
def test_channels_bring_grey_and_colour_to_the_same(channels: str, mode: str) -> None:
    raw = read({"a.png": encoded(GREY), "b.png": encoded(COLOUR)}, channels=channels)
    expected = [np.asarray(image.convert(mode)).reshape(6, 5, -1).transpose(2, 0, 1) for image in (GREY, COLOUR)]
    assert np.array_equal(raw.parts[0].records, expected)


def test_a_flat_folder_has_no_labels() -> None:
    raw = read({**pictures(3), "README.txt": b"three pictures", ".hidden.png": b""})
    assert (raw.kind, raw.classes, raw.value_range) == ("image", (), (0.0, 255.0))
    assert raw.parts[0].labels is None
    assert raw.parts[0].split is None


def test_subfolders_with_pictures_are_classes_in_the_order_of_their_names() -> None:
    raw = read({**pictures(2, "dog/"), **pictures(3, "cat/"), "notes/a.txt": b""}, image_size=(4, 4))
    assert raw.classes == ("cat", "dog")
    assert raw.parts[0].labels.tolist() == [0, 0, 0, 1, 1]


def test_records_stand_in_the_order_of_names_however_many_are_decoded_at_once() -> None:
    count = 3 * images._WINDOW
    files = {f"{number:03}.png": encoded(picture(number)) for number in reversed(range(count))}
    raw = read(files)
    expected = [np.asarray(picture(number))[None] for number in range(count)]
    assert np.array_equal(raw.parts[0].records, expected)
    assert isinstance(raw.parts[0].records, np.memmap)


def test_corrupt_files_up_to_the_allowed_share_are_listed_and_left_out() -> None:
    files = {**pictures(6, "a/"), **pictures(2, "b/"), "a/01x.jpg": b"", "b/00x.png": GOOD[:-40]}
    raw = read(files, max_bad_fraction=0.2)
    assert raw.rejected == {"a/01x.jpg": "an empty file", "b/00x.png": "image file is truncated"}
    assert raw.parts[0].labels.tolist() == [0] * 6 + [1] * 2
    assert np.array_equal(raw.parts[0].records[6:, 0], [np.asarray(picture(number)) for number in range(2)])


def test_the_allowed_share_is_compared_exactly() -> None:
    files = {**pictures(71), **{f"bad{number:02}.png": b"" for number in range(29)}}
    assert len(read(files, max_bad_fraction=0.29).rejected) == 29  # 0.29 * 100 is 28.999… in binary


def test_a_link_inside_the_folder_is_a_file_like_any_other() -> None:
    lay({"a.png": GOOD})(RAW)
    (RAW / "b.png").symlink_to("a.png")
    listing = ingest(Params(source="images", path="raw"))
    assert sorted(listing["files"]) == ["a.png", "b.png"]
    assert not Path("artifacts/ingest/b.png").is_symlink()


def test_files_that_dvc_links_to_its_cache_are_read() -> None:
    lay({"cache": GOOD})(Path())
    RAW.mkdir()
    (RAW / "a.png").symlink_to(Path("cache").resolve())
    assert len(read({"b.png": encoded(COLOUR)}, channels="grey").parts[0].records) == 2


def test_nothing_is_copied_before_all_names_are_checked() -> None:
    lay({"a.png": GOOD, "z.png": GOOD})(RAW)
    (RAW / "y.png").symlink_to("/dev/null")
    with pytest.raises(UserError, match="is a link that leaves raw"):
        next(images.fetch(Request(None, "raw")))


def test_pictures_are_recognised_by_their_names() -> None:
    lay({"table/a.csv": b"", "flat/a.JPG": b"", "classes/dog/a.tiff": b""})(Path())
    found = {name: images.recognises(Path(name)) for name in ("table", "flat", "classes")}
    assert found == {"table": False, "flat": True, "classes": True}


def test_a_folder_of_pictures_is_ingested_and_prepared_twice_to_the_same_bytes() -> None:
    lay({**pictures(40, "good/", mode="RGB"), **pictures(5, "scratched/")})(RAW)
    manifests = []
    for _ in range(2):
        ingest(Params(source="images", path="raw", image_size=[8, 8], channels="rgb"))
        manifests.append(prepare(PrepareParams(normal_classes=["good"])))
    assert manifests[0] == manifests[1]
    assert manifests[0].item_shape == [3, 8, 8]
    assert sum(manifests[0].size(split) for split in ("train", "validation", "calibration", "selection", "test")) == 45
