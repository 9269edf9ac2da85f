"""An S3 server for tests: moto's, as a process of its own on a loopback port, which logs every request it answers."""

import functools
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests"}


class S3Server:
    """A server that runs."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self._log = url, log

    @property
    def environment(self) -> dict[str, str]:
        """What a user of this server sets, and nothing from files or from the machine it may run on."""
        empty = self._log.with_name("aws-config")
        empty.touch()
        nowhere = {"AWS_CONFIG_FILE": str(empty), "AWS_SHARED_CREDENTIALS_FILE": str(empty)}
        return {**CREDENTIALS, **nowhere, "AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip

    @functools.cached_property
    def client(self) -> Any:
        """What tests write with, whatever environment they make up."""
        import boto3

        key, secret = CREDENTIALS.values()
        session = boto3.session.Session(key, secret, region_name="us-east-1")
        return session.client("s3", endpoint_url=self.url)

    def log_size(self) -> int:
        """Where the log ends now."""
        return self._log.stat().st_size

    def downloads(self, bucket: str, since: int) -> list[str]:
        """The keys that were asked for since the log had that size, once for each time."""
        text = self._log.read_bytes()[since:].decode()
        return [unquote(key) for key in re.findall(rf'"GET /{bucket}/([^? ]+) HTTP', text)]

    def ask_for_credentials(self, wanted: bool) -> None:
        """Whether requests with foreign credentials are refused."""
        count = b"0" if wanted else b"inf"  # requests that are let through unchecked
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", count, plain)  # noqa: S310 - http, our own
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - the same


class Bucket:
    """A bucket of its own for one test."""

    def __init__(self, server: S3Server, name: str) -> None:
        self.server, self.name = server, name
        self.client = server.client
        self.client.create_bucket(Bucket=name)
        self._seen = server.log_size()

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def remove(self, key: str) -> None:
        """Remove an object."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def downloads(self) -> list[str]:
        """The keys that were asked for since the last call, once for each time."""
        keys = self.server.downloads(self.name, self._seen)
        self._seen = self.server.log_size()
        return keys


@contextmanager
def running_server(folder: Path) -> Iterator[S3Server]:
    """Start a server whose log lies in `folder`; it ends with the block."""
    log = folder / "s3.log"
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", "0"]
    with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        try:
            while not (found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield S3Server(found[1], log)
        finally:
            process.terminate()
