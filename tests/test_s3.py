"""A prefix in S3 is synced like any folder: only what changed is downloaded, and what goes wrong is told in one line.

Reference: the requests that a real S3 server (moto's) logs, and the bytes that were put there.
"""

from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from s3_server import Bucket
from test_ingest import idx_bytes

from components.ingest import ingest
from components.params.ingest import Params
from components.params.prepare import Params as PrepareParams
from components.prepare import prepare
from components.runtime import progress
from components.runtime.errors import UserError
from components.sources import Request, s3

OUT = Path("artifacts/ingest")


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(
    tmp_path: Path, in_directory: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_directory(tmp_path)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def sync(bucket: Bucket, prefix: str = "raw") -> dict[str, object]:
    return ingest(Params(source="s3", path=f"s3://{bucket.name}/{prefix}"))


def put_idx(bucket: Bucket, count: int, prefix: str = "raw") -> np.ndarray:
    """The first `count` of an endless row of different images; returns them as they lie in the bucket."""
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4), np.uint8)
    bucket.put(f"{prefix}/train-images-idx3-ubyte", idx_bytes(images))
    return images


def test_only_what_is_new_or_has_changed_is_downloaded(bucket: Bucket) -> None:
    contents = {f"day/{number}.npy": bytes([number]) * 1000 for number in range(20)}
    for name, content in contents.items():
        bucket.put(f"raw/{name}", content)
    bucket.put("raw/day/", b"")  # a folder marker, as consoles make them
    bucket.put("raw-old/0.npy", b"no part of the prefix")
    listing = sync(bucket)
    assert sorted(bucket.downloads()) == sorted(f"raw/{name}" for name in contents)
    assert list(listing["files"]) == sorted(contents)
    assert {name: (OUT / name).read_bytes() for name in contents} == contents

    before = (OUT / "listing.json").read_bytes()
    sync(bucket, "raw/")
    assert (OUT / "listing.json").read_bytes() == before
    assert bucket.downloads() == []

    bucket.put("raw/new.npy", b"new")
    bucket.put("raw/day/3.npy", b"\7" * 1000)
    bucket.remove("raw/day/5.npy")
    listing = sync(bucket)
    assert sorted(bucket.downloads()) == ["raw/day/3.npy", "raw/new.npy"]
    assert (OUT / "day/3.npy").read_bytes() == b"\7" * 1000
    assert not (OUT / "day/5.npy").exists()
    assert len(listing["files"]) == 20


def test_a_local_file_that_was_altered_is_downloaded_again(bucket: Bucket) -> None:
    bucket.put("raw/a.npy", b"first")
    sync(bucket)
    (OUT / "a.npy").write_bytes(b"other")
    sync(bucket)
    assert (OUT / "a.npy").read_bytes() == b"first"


def test_an_object_may_take_the_place_of_a_folder_and_back(bucket: Bucket) -> None:
    bucket.put("raw/a/b.npy", b"below")
    sync(bucket)
    bucket.remove("raw/a/b.npy")
    bucket.put("raw/a", b"above")
    assert list(sync(bucket)["files"]) == ["a"]
    bucket.remove("raw/a")
    bucket.put("raw/a/b.npy", b"below")
    assert list(sync(bucket)["files"]) == ["a/b.npy"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # connections that were broken off
@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("here", "broke", "mend it")])
def test_a_sync_that_broke_off_continues_where_it_stopped(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    for number in range(40):
        bucket.put(f"raw/{number:02}.npy", bytes([number]))
    received = []

    def receive(*arguments: object) -> None:
        if len(received) == 12:
            raise error
        received.append(arguments)
        complete(*arguments)

    complete = s3._receive
    monkeypatch.setattr(s3, "_receive", receive)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else UserError):
        sync(bucket)
    assert not (OUT / "listing.json").exists()
    assert list(Path(".work/tmp").iterdir()) == []
    arrived = {path.name for path in OUT.iterdir()}
    assert 0 < len(arrived) <= 12 and len(bucket.downloads()) < 40, "the error must call off the rest"

    monkeypatch.setattr(s3, "_receive", complete)
    with Path(".work/ingest/versions.jsonl").open("a") as journal:
        journal.write('\n["39.npy", "a process that was ki')
    assert len(sync(bucket)["files"]) == 40
    assert sorted(bucket.downloads()) == [f"raw/{n:02}.npy" for n in range(40) if f"{n:02}.npy" not in arrived]
    sync(bucket)
    assert bucket.downloads() == []


def test_a_download_that_is_called_off_ends(bucket: Bucket) -> None:
    bucket.put("raw/a.npy", b"a")
    request = Request(None, f"s3://{bucket.name}/raw")
    (file,) = s3.fetch(request)
    request.stop.set()
    with pytest.raises(CancelledError):
        file.save(Path("a.npy"))


def test_a_listing_of_several_pages_is_read_to_its_end(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        bucket.put(f"raw/{number}", b"")
    monkeypatch.setattr(s3, "PAGE", 2)
    assert len(list(s3.fetch(Request(None, f"s3://{bucket.name}/raw")))) == 5


def test_objects_in_parts_are_compared_by_their_checksum(bucket: Bucket) -> None:
    """The ETag of an upload in parts is no digest."""
    content = bytes(range(256)) * 4096 * 6
    to = {"Bucket": bucket.name, "Key": "raw/a.npy"}
    upload = bucket.client.create_multipart_upload(**to)["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": bucket.client.upload_part(
            **to, UploadId=upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate((content[: 5 << 20], content[5 << 20 :]), 1)
    ]  # fmt: skip
    bucket.client.complete_multipart_upload(**to, UploadId=upload, MultipartUpload={"Parts": parts})
    sync(bucket)
    assert (OUT / "a.npy").read_bytes() == content


def test_appended_records_leave_every_old_one_in_its_split(bucket: Bucket) -> None:
    def splits() -> dict[bytes, str]:
        sync(bucket)
        prepare(PrepareParams())
        names = ("train", "validation", "calibration", "selection", "test")
        return {r.tobytes(): name for name in names for r in np.load(f"artifacts/prepare/{name}.npy")}

    old = put_idx(bucket, 200)
    before = splits()
    put_idx(bucket, 300)
    after = splits()
    assert set(before) == {image.tobytes() for image in old}
    assert len(after) == 300
    assert {record: after[record] for record in before} == before


def test_a_long_sync_says_how_far_it_is(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0)
    for name in "ab":
        bucket.put(f"raw/{name}", b"")
    sync(bucket)
    lines = ["synced 1 of 2 files", "synced 2 of 2 files", "fetched 2 files, 0 were here already"]
    assert capsys.readouterr().err.splitlines() == lines
