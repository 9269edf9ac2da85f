"""What goes wrong with a prefix in S3 is told in one exact line, which holds no secret, and leaves nothing half-done.

Reference: the lines written beside the mistakes; the answers are those of a real S3 server (moto's).
"""

import dataclasses
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.httpchecksum import StreamingChecksumBody
from botocore.response import StreamingBody
from s3_server import Bucket, S3Server
from test_s3 import OUT, sync

from components.ingest import ingest
from components.params.ingest import Params
from components.params.prepare import Params as PrepareParams
from components.prepare import prepare
from components.runtime.errors import UserError
from components.sources import Options, RawFile, Request, idx, s3


@pytest.fixture(autouse=True)
def _in_an_empty_checkout(
    tmp_path: Path, in_directory: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_directory(tmp_path)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def meddle(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let `act` happen between the listing and the first download."""

    def fetch(request: Request) -> Iterator[RawFile]:
        yield from listed(request)
        act()

    listed = s3.SOURCE.fetch
    monkeypatch.setattr(s3, "SOURCE", dataclasses.replace(s3.SOURCE, fetch=fetch))


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
    ("no region", lambda b, p: p.setenv("AWS_DEFAULT_REGION", "middle earth"),
     "AWS_DEFAULT_REGION: is no name of a region; write e.g. eu-central-1"),
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


def test_a_vanishing_key_is_named_and_the_next_sync_goes_on(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        bucket.put(f"raw/{name}.npy", name.encode())
    with monkeypatch.context() as patch:
        meddle(patch, lambda: bucket.remove("raw/b.npy"))
        with pytest.raises(UserError):
            sync(bucket)
    assert list(sync(bucket)["files"]) == ["a.npy", "c.npy"]


def test_a_prefix_of_no_known_format_is_refused(bucket: Bucket) -> None:
    bucket.put("raw/notes.xyz", b"?")
    sync(bucket)
    with pytest.raises(UserError) as caught:
        prepare(PrepareParams())
    line = "ingest.path: holds files of no known format; name a prefix that holds one of "
    assert str(caught.value).startswith(line)
    assert "idx" in str(caught.value).removeprefix(line).split(", ")


def test_a_prefix_of_two_formats_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = dataclasses.replace(idx.SOURCE, recognises=lambda _: True)
    monkeypatch.setattr(s3, "known", lambda: ["idx", "other"])
    monkeypatch.setattr(s3, "find", lambda _: both)
    line = "ingest.path: holds files of idx and other; name a prefix that holds one of idx, other"
    with pytest.raises(UserError, match=f"^{re.escape(line)}$"):
        s3.read(OUT, Options(), Path())
