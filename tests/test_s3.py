"""A prefix in S3 is synced like any folder: only what changed is downloaded, and what goes wrong is told in one line.

Reference: the requests that a real S3 server (moto's) logs, and the bytes that were put there.
"""

import dataclasses
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.httpchecksum import StreamingChecksumBody
from botocore.response import StreamingBody
from s3_server import Bucket, S3Server
from test_ingest import idx_bytes

from components.ingest import ingest
from components.params.ingest import Params
from components.params.prepare import Params as PrepareParams
from components.prepare import prepare
from components.runtime.errors import UserError
from components.sources import RawFile, Request, s3

OUT = Path("artifacts/ingest")


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(
    tmp_path: Path, in_directory: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_directory(tmp_path)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def sync(bucket: Bucket, prefix: str = "raw") -> dict[str, object]:
    return ingest(Params(source="s3", path=f"s3://{bucket.name}/{prefix}"))


def meddle(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let `act` happen between the listing and the first download."""

    def fetch(request: Request) -> Iterator[RawFile]:
        yield from listed(request)
        act()

    listed = s3.SOURCE.fetch
    monkeypatch.setattr(s3, "SOURCE", dataclasses.replace(s3.SOURCE, fetch=fetch))


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


def test_a_vanishing_key_is_named_and_the_next_sync_goes_on(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        bucket.put(f"raw/{name}.npy", name.encode())
    with monkeypatch.context() as patch:
        meddle(patch, lambda: bucket.remove("raw/b.npy"))
        with pytest.raises(UserError):
            sync(bucket)
    assert list(sync(bucket)["files"]) == ["a.npy", "c.npy"]


Mistake = Callable[[Bucket, pytest.MonkeyPatch], object]


def _policy(bucket: Bucket, _: pytest.MonkeyPatch) -> None:
    everything = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=policy)


def _no_credentials(_: Bucket, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("AWS_ACCESS_KEY_ID")
    patch.delenv("AWS_SECRET_ACCESS_KEY")


def _damaged_on_its_way(_: Bucket, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StreamingBody, "read", lambda self, amt: self._raw_stream.read(amt)[::-1])


def _damaged_without_a_checksum(bucket: Bucket, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    patch.setattr(StreamingChecksumBody, "_validate_checksum", lambda _: None)
    _damaged_on_its_way(bucket, patch)


def _shortened_on_its_way(_: Bucket, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StreamingBody, "read", lambda self, amt: b"")
    patch.setattr(StreamingChecksumBody, "_validate_checksum", lambda _: None)


def _broken_off(_: Bucket, patch: pytest.MonkeyPatch) -> None:
    def read(self: StreamingBody, amt: int) -> bytes:
        raise ResponseStreamingError(error="broke off")

    patch.setattr(StreamingBody, "read", read)


def _archived(bucket: Bucket, _: pytest.MonkeyPatch) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="raw/a.npy", Body=b"a", StorageClass="GLACIER")


DAMAGED = (
    "s3://BUCKET/raw/a.npy: arrived damaged 3 times, "
    "it does not have the length or digest that the server names; upload it again"
)
MISTAKES: list[tuple[str, Mistake, str]] = [
    ("vanished", lambda b, p: meddle(p, lambda: b.remove("raw/a.npy")),
     "s3://BUCKET/raw/a.npy: vanished while the prefix was synced; run again when nothing is being removed"),
    ("changed", lambda b, p: meddle(p, lambda: b.put("raw/a.npy", b"other")),
     "s3://BUCKET/raw/a.npy: changed while the prefix was synced; run again when nothing is being written"),
    ("denied", _policy, "s3://BUCKET/raw/a.npy: access is denied; "
     "allow these credentials s3:ListBucket on the bucket and s3:GetObject below"),
    ("archived", _archived, "s3://BUCKET/raw/a.npy: lies in an archive; restore it there first"),
    ("no credentials", _no_credentials, "s3://BUCKET/raw/: no complete credentials were found; "
     "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and its login"),
    ("half of the credentials", lambda b, p: p.delenv("AWS_SECRET_ACCESS_KEY"),
     "s3://BUCKET/raw/: no complete credentials were found; "
     "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and its login"),
    ("no such profile", lambda b, p: p.setenv("AWS_PROFILE", "typo"),
     "AWS_PROFILE: names a profile that does not exist; see ~/.aws/config"),
    ("no address of a server", lambda b, p: p.setenv("AWS_ENDPOINT_URL", "localhost"),
     "AWS_ENDPOINT_URL: is no address of a server; write http://HOST:PORT"),
    ("unreachable", lambda b, p: p.setenv("AWS_ENDPOINT_URL", "http://me:secret@127.0.0.1:9"),
     "s3://BUCKET/raw/: cannot reach 127.0.0.1:9 (EndpointConnectionError); check AWS_ENDPOINT_URL and the network"),
    ("no such bucket", lambda b, p: (b.remove("raw/a.npy"), b.client.delete_bucket(Bucket=b.name)),
     "s3://BUCKET/raw/: its bucket does not exist; check its name, and which server AWS_ENDPOINT_URL names"),
    ("empty prefix", lambda b, p: b.remove("raw/a.npy"),
     "ingest.path: source 's3' found no file in s3://BUCKET/raw; check the folder"),
    ("damaged on its way", _damaged_on_its_way, DAMAGED),
    ("damaged, and only the ETag tells", _damaged_without_a_checksum, DAMAGED),
    ("shortened on its way", _shortened_on_its_way, DAMAGED),
    ("broken off", _broken_off,
     "s3://BUCKET/raw/a.npy: the download broke off 3 times; run again, what has arrived is kept"),
    ("traversal", lambda b, p: b.put("raw/../../evil", b"x"),
     "ingest.path: '../../evil' would be no file below artifacts/ingest; rename it"),
    ("empty segment", lambda b, p: b.put("raw/b//c.npy", b"x"),
     "ingest.path: 'b//c.npy' would be no file below artifacts/ingest; rename it"),
    ("absolute", lambda b, p: b.put("raw//etc/passwd", b"x"),
     "ingest.path: '/etc/passwd' would be no file below artifacts/ingest; rename it"),
    ("too long a name", lambda b, p: b.put(f"raw/{'x' * 256}", b"x"),
     f"ingest.path: '{'x' * 256}' would be no file below artifacts/ingest; rename it"),
    ("the listing's name", lambda b, p: b.put("raw/listing.json", b"x"),
     "ingest.path: 'listing.json' is the name of a file of ingest's own; rename it"),
    ("a file and a folder", lambda b, p: b.put("raw/a.npy/b", b"x"),
     "ingest.path: a.npy is a file and also the folder of a.npy/b; rename one"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "line"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_answered_with_one_exact_line(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, make: Mistake, line: str
) -> None:
    bucket.put("raw/a.npy", b"first content")
    make(bucket, monkeypatch)
    with pytest.raises(UserError) as caught:
        sync(bucket)
    assert str(caught.value) == line.replace("BUCKET", bucket.name)
    assert not (OUT / "listing.json").exists()
    assert not list(Path(".work/tmp").glob("*"))
    assert list(Path.cwd().rglob("evil")) == list(Path.cwd().parent.glob("evil")) == []


@pytest.mark.parametrize("address", ["raw", "https://host/raw", "s3:/bucket/raw", "s3://"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError) as caught:
        ingest(Params(source="s3", path=address))
    assert str(caught.value) == f"ingest.path: must be an address in S3, got '{address}'; write s3://BUCKET/PREFIX"


def test_a_name_that_no_bucket_can_have_is_refused(bucket: Bucket) -> None:
    with pytest.raises(UserError, match=r"ingest\.path: s3://no bucket/raw/ names no valid bucket; write s3://"):
        ingest(Params(source="s3", path="s3://no bucket/raw"))


def test_unknown_credentials_are_not_accepted(bucket: Bucket, s3_server: S3Server) -> None:
    s3_server.ask_for_credentials(True)
    try:
        with pytest.raises(UserError) as caught:
            sync(bucket)
    finally:
        s3_server.ask_for_credentials(False)
    assert "raw/: the credentials are not accepted (InvalidAccessKeyId); check AWS_ACCESS_KEY_ID" in str(caught.value)
    assert "tester" not in str(caught.value)


def test_a_server_that_stalls_is_given_up(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "READ_TIMEOUT", 0.2)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with pytest.raises(UserError) as caught:
            sync(bucket)
    line = f"127.0.0.1:{port} stalls, it was silent for 0.2 s; run again, what has arrived is kept"
    assert str(caught.value) == f"s3://{bucket.name}/raw/: {line}"


@pytest.mark.parametrize(
    ("files", "found"),
    [({"notes.xyz": b"?"}, "no known format")],
)
def test_a_prefix_of_no_known_format_is_refused(bucket: Bucket, files: dict[str, bytes], found: str) -> None:
    for name, content in files.items():
        bucket.put(f"raw/{name}", content)
    sync(bucket)
    with pytest.raises(UserError, match=f"ingest.path: holds files of {found}; name a prefix that holds one of .*idx"):
        prepare(PrepareParams())
