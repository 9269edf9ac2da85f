"""A real Prefect server for tests, and its answers."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.running import server


@contextmanager
def running_server(home: Path) -> Iterator[str]:
    """A server with its database in `home`; the address of its API."""
    process, url = server.launch(home)
    try:
        server.wait_for(url, home / server.LOG)
        yield url
    finally:
        process.terminate()
        process.wait()
        process.stdin.close()


def ask(url: str, path: str, **body: Any) -> Any:
    """The answer to a POST."""
    content = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/{path}", *content)  # noqa: S310 - http, our own
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
        return json.load(answer)
