"""An S3 server: moto's, made to last. For a stack on one machine; a service for many belongs on a real one.

moto keeps everything in memory. Here each object is also a file, written before the request that made it is answered,
and read back at the next start. Kept are what this project relies on: content, ETag, metadata, type, time and checksum
of the newest version of an object; not versions, tags and rules of access. Requests must be signed with the one key.
"""

import hashlib
import json
import os
import shutil
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runtime.outputs import complete_file
from infra.health import answers
from infra.stack.server import Server
from infra.stack.settings import HOST, Settings

if TYPE_CHECKING:
    from flask import Flask, Response

BUCKET = "hourglass"
REGION = "us-east-1"
_KEY_ID = "hourglass"
_OBJECT = ("etag", "storage_class", "checksum_algorithm", "checksum_value", "checksum_type", "checksum_parts")
_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def server(settings: Settings) -> Server:
    """The server, with the stack's bucket made at its first start."""
    return Server(
        name="s3",
        command=(sys.executable, "-m", "infra.stack.s3", str(settings.data("s3")), str(settings.ports["s3"])),
        environment={"HOURGLASS_S3_SECRET": settings.secrets["s3"], "PYTHONPATH": str(_checkout())},
        is_well=lambda: answers(settings.url("s3")),
    )


def client_environment(settings: Settings) -> dict[str, str]:
    """What leads S3's clients there, and lets them in."""
    return {
        "AWS_ENDPOINT_URL": settings.url("s3"),
        "AWS_ACCESS_KEY_ID": _KEY_ID,
        "AWS_SECRET_ACCESS_KEY": settings.secrets["s3"],
        "AWS_DEFAULT_REGION": REGION,
    }


def _checkout() -> Path:
    return Path(__file__).resolve().parents[2]


class Shelf:
    """The objects as files: a folder for each bucket, in it a file for each object, named by the digest of its key.

    A file is a line of JSON about the object, and then its content.
    """

    def __init__(self, root: Path, backend: Any) -> None:
        self._root, self._backend = root, backend
        self._lock = threading.Lock()

    def fill(self) -> None:
        """Give moto everything that is kept."""
        for folder in sorted(self._root.iterdir()):
            self._backend.create_bucket(folder.name, REGION)
            for path in folder.glob("[!.]*"):
                with path.open("rb") as file:
                    about = json.loads(file.readline())
                    stored = self._backend.put_object(folder.name, about["key"], file.read(), disable_notification=True)
                for name in _OBJECT:
                    setattr(stored, _INSIDE.get(name, name), about[name])
                stored.set_metadata(about["metadata"])
                stored.last_modified = datetime.fromisoformat(about["last_modified"])

    def keep(self, bucket: str, key: str) -> None:
        """Write down how moto has an object now, or, without a key, which objects a bucket has left."""
        with self._lock:
            folder = self._root / bucket
            if (found := self._backend.buckets.get(bucket)) is None:
                shutil.rmtree(folder, ignore_errors=True)
            elif key:
                folder.mkdir(parents=True, exist_ok=True)
                self._keep_object(folder / _name(key), found.keys.get(key))
            else:
                folder.mkdir(parents=True, exist_ok=True)
                left = {_name(key) for key in found.keys}
                for path in [path for path in folder.iterdir() if path.name not in left]:
                    path.unlink()

    @staticmethod
    def _keep_object(path: Path, stored: Any) -> None:
        if stored is None or not hasattr(stored, "value"):  # gone, or marked as deleted
            path.unlink(missing_ok=True)
            return
        about = {name: getattr(stored, _INSIDE.get(name, name)) for name in _OBJECT}
        about |= {"key": stored.name, "metadata": dict(stored.metadata)}
        about["last_modified"] = stored.last_modified.isoformat()
        with complete_file(path) as temporary, temporary.open("wb") as file:
            file.write(json.dumps(about).encode() + b"\n" + stored.value)


_INSIDE = {"etag": "_etag", "storage_class": "_storage_class"}
"""What can be set under another name than it is read by."""


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def application(root: Path, secret: str) -> "Flask":
    """The S3 of moto and nothing else of it, closed to those who do not know the secret, and lasting."""
    from moto import settings as moto_settings
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.iam.models import iam_backends
    from moto.moto_server.werkzeug_app import create_backend_app
    from moto.s3.models import s3_backends

    moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    users = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    user = users.create_user(REGION, _KEY_ID)
    user.put_policy("everything", json.dumps(_EVERYTHING))
    key = users.create_access_key(_KEY_ID)
    key.access_key_id, key.secret_access_key = _KEY_ID, secret
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    root.mkdir(parents=True, exist_ok=True)
    shelf = Shelf(root, backend)
    shelf.fill()
    if BUCKET not in backend.buckets:
        backend.create_bucket(BUCKET, REGION)
        shelf.keep(BUCKET, "")
    made = create_backend_app("s3")
    made.before_request(_refuse_unsigned)
    made.after_request(lambda response: _kept(shelf, response))
    return made


def _refuse_unsigned() -> tuple[str, int] | None:
    """What moto would break down over: a request without a signature."""
    from flask import request

    is_signed = request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 ")
    return None if is_signed else ("<Error><Code>AccessDenied</Code></Error>", 403)


def _kept(shelf: Shelf, response: "Response") -> "Response":
    from flask import request

    is_part = request.method == "PUT" and "uploadId" in request.args
    if request.method in ("PUT", "POST", "DELETE") and response.status_code < 300 and not is_part:
        bucket, _, key = request.path.removeprefix("/").partition("/")
        shelf.keep(bucket, key)
    return response


def main() -> None:
    """Serve; the arguments are the folder and the port."""
    root, port = Path(sys.argv[1]), int(sys.argv[2])
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"  # no page of another origin has business here
    from werkzeug.serving import make_server

    make_server(HOST, port, application(root, os.environ["HOURGLASS_S3_SECRET"]), threaded=True).serve_forever()


if __name__ == "__main__":
    main()
