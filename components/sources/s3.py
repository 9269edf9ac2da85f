"""s3: a prefix of a bucket, holding files of any format that another source reads.

Credentials come from boto3's standard chain, the endpoint from AWS_ENDPOINT_URL. Listing a prefix costs one request per
thousand objects and says each one's ETag and size, so that only what is new or has changed is downloaded.
"""

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from components.runtime.errors import UserError
from components.sources import Options, RawData, RawFile, RawTable, Request, Source, find, known

CONNECT_TIMEOUT = 10
READ_TIMEOUT = 60
"""Seconds without a sign of life from the server."""
ATTEMPTS = 3
"""Downloads of one object that may break off; single requests are repeated by botocore (AWS_MAX_ATTEMPTS)."""
CONNECTIONS = 16
PAGE = 1000
"""Objects in one answer of the listing, the most that S3 gives."""
_CHUNK = 1 << 20
_PLAIN_MD5 = re.compile(r'"([0-9a-f]{32})"')
_RUN_AGAIN = "run again, what has arrived is kept"

_REFUSALS = {
    "NoSuchBucket": ("its bucket does not exist", "check its name, and which server AWS_ENDPOINT_URL names"),
    "NoSuchKey": ("vanished while the prefix was synced", "run again when nothing is being removed"),
    "PreconditionFailed": ("changed while the prefix was synced", "run again when nothing is being written"),
    "AccessDenied": ("access is denied", "allow these credentials s3:ListBucket on the bucket and s3:GetObject below"),
    "InvalidObjectState": ("lies in an archive", "restore it there first"),
    "PermanentRedirect": ("its bucket is in another region", "name that one in AWS_DEFAULT_REGION"),
    "RequestTimeTooSkewed": ("the server's clock differs from this machine's", "set the clock"),
}
"""The server's codes for what a user can mend."""
_SYNONYMS = {
    "404": "NoSuchKey",
    "412": "PreconditionFailed",
    "403": "AccessDenied",
    "AllAccessDisabled": "AccessDenied",
    "301": "PermanentRedirect",
    "AuthorizationHeaderMalformed": "PermanentRedirect",
}
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
}
_CREDENTIALS_FIX = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and its login"


class _DamagedError(Exception):
    """What arrived is not what the server names."""


@dataclass(frozen=True)
class _Object:
    """One object of a bucket, as listed."""

    bucket: str
    key: str
    etag: str
    size: int

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def fetch(request: Request) -> Iterator[RawFile]:
    """Every object below the prefix but folder markers, named by its key behind the prefix; nothing is downloaded yet.

    Saving one raises UserError when it has vanished or changed since it was listed, arrives damaged or not at all.
    """
    bucket, prefix = _parse(request.path or "")
    with _told_in_one_line(f"s3://{bucket}/{prefix}"):
        client = _client()
        listing = client.get_paginator("list_objects_v2")
        for page in listing.paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE}):
            for found in page.get("Contents", ()):
                item = _Object(bucket, found["Key"], found["ETag"], found["Size"])
                if not item.key.endswith("/"):
                    save = partial(_download, client, item, stop=request.stop)
                    yield RawFile(item.key.removeprefix(prefix), save, f"{item.address} {item.etag} {item.size}")


def _parse(address: str) -> tuple[str, str]:
    """Bucket and prefix, the latter empty or with a slash at its end: `digits` must not match `digits-old/`."""
    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UserError("ingest.path", f"must be an address in S3, got '{address}'", "write s3://BUCKET/PREFIX")
    prefix = prefix.rstrip("/")
    return bucket, f"{prefix}/" if prefix else ""


def _client() -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import InvalidRegionError

    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard"},
        max_pool_connections=CONNECTIONS,
    )
    try:
        return boto3.session.Session().client("s3", config=config)
    except InvalidRegionError:
        raise UserError("AWS_DEFAULT_REGION", "is no name of a region", "write e.g. eu-central-1") from None
    except ValueError:
        raise UserError("AWS_ENDPOINT_URL", "is no address of a server", "write http://HOST:PORT") from None


def _download(client: Any, item: _Object, path: Path, stop: Event) -> None:
    from botocore.exceptions import FlexibleChecksumError, HTTPClientError, IncompleteReadError

    with _told_in_one_line(item.address):
        for attempt in range(1, ATTEMPTS + 1):
            # refused by the server when it no longer is the object that was listed
            answer = client.get_object(Bucket=item.bucket, Key=item.key, IfMatch=item.etag, ChecksumMode="ENABLED")
            try:
                _receive(answer, item, path, stop)
                break
            except (HTTPClientError, IncompleteReadError, FlexibleChecksumError, _DamagedError):
                if attempt == ATTEMPTS:
                    raise


def _receive(answer: dict[str, Any], item: _Object, path: Path, stop: Event) -> None:
    """Write the body; botocore compares its length, and its checksum where the object has one."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    # closing, because a body that is entered as a context hands out the bare stream, which checks nothing
    with closing(answer["Body"]) as body, path.open("wb") as target:
        while chunk := body.read(_CHUNK):
            if stop.is_set():
                raise CancelledError
            digest.update(chunk)
            size += target.write(chunk)
    # an ETag is the MD5 of a single upload, unless the server encrypts with keys of its own
    encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in answer
    md5 = None if encrypted else _PLAIN_MD5.fullmatch(item.etag)
    if size != item.size or (md5 and md5[1] != digest.hexdigest()):
        raise _DamagedError


@contextmanager
def _told_in_one_line(address: str) -> Iterator[None]:
    """Turn the errors of boto3 into the user's; of their texts nothing is passed on, they may hold secrets."""
    from botocore import exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        raise _refusal(address, str(error.response.get("Error", {}).get("Code", "no code"))) from None
    except (_DamagedError, boto.FlexibleChecksumError):
        what = f"arrived damaged {ATTEMPTS} times, it does not have the length or digest that the server names"
        raise UserError(address, what, "upload it again") from None
    except (boto.ReadTimeoutError, boto.ConnectTimeoutError) as error:
        what = f"{_server(error)} stalls, it was silent for {READ_TIMEOUT} s"
        raise UserError(address, what, _RUN_AGAIN) from None
    except (boto.IncompleteReadError, boto.ResponseStreamingError):
        raise UserError(address, f"the download broke off {ATTEMPTS} times", _RUN_AGAIN) from None
    except (boto.HTTPClientError, boto.ConnectionError) as error:
        fix = "check AWS_ENDPOINT_URL and the network"
        raise UserError(address, f"cannot reach {_server(error)} ({type(error).__name__})", fix) from None
    except boto.ProfileNotFound:
        raise UserError("AWS_PROFILE", "names a profile that does not exist", "see ~/.aws/config") from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.SSOError):
        raise UserError(address, "no complete credentials were found", _CREDENTIALS_FIX) from None
    except boto.ParamValidationError:
        raise UserError("ingest.path", f"{address} names no valid bucket", "write s3://BUCKET/PREFIX") from None
    except boto.BotoCoreError as error:
        raise UserError(address, f"boto3 gives up ({type(error).__name__})", "check the AWS settings") from None


def _refusal(address: str, code: str) -> UserError:
    if code in _BAD_CREDENTIALS:
        return UserError(address, f"the credentials are not accepted ({code})", _CREDENTIALS_FIX)
    what, fix = _REFUSALS.get(_SYNONYMS.get(code, code), (f"the server refuses ({code})", _RUN_AGAIN))
    return UserError(address, what, fix)


def _server(error: Any) -> str:
    """The host that an error of botocore speaks of, without a user and password that its address may hold."""
    host = urlsplit(error.kwargs.get("endpoint_url") or "")
    return f"{host.hostname}:{host.port}" if host.port else host.hostname or "the server"


def read(raw: Path, options: Options, scratch: Path) -> RawData | RawTable:
    """What the source of the files' format makes of them."""
    formats = {name: entry for name in known() if (entry := find(name)) is not SOURCE and entry.needs_path}
    recognised = [name for name, entry in formats.items() if entry.recognises(raw)]
    if len(recognised) != 1:
        what = f"holds files of {' and '.join(recognised) or 'no known format'}"
        fix = f"name a prefix that holds one of {', '.join(formats)}"
        raise UserError("ingest.path", what, fix)
    return formats[recognised[0]].read(raw, options, scratch)


def version() -> str:
    """The objects speak for themselves."""
    return "s3"


SOURCE = Source("a prefix in S3, holding what another source reads", fetch, read, version, needs_path=True)
