"""Make `infra/.env`: the secrets of the containers, generated once and kept, readable by their owner alone.

    python -m infra.environment
`docker compose` reads it by itself; `kubectl create secret generic hourglass --from-env-file=infra/.env` takes it too.
"""

import os
import secrets
from pathlib import Path

from components.runtime.errors import run_main
from infra.stack.settings import write_private

FILE = Path("infra/.env")
SECRETS = (
    "POSTGRES_PASSWORD",
    "MLFLOW_DATABASE_PASSWORD",
    "PREFECT_DATABASE_PASSWORD",
    "PREFECT_API_SECRET",
    "S3_SECRET",
)
_NOBODY = 10001
"""Whom containers run as where this is called by root: they never are root themselves."""


def environment() -> dict[str, str]:
    """New secrets, fit for the inside of an address; and whose files a worker writes in this checkout."""
    owner = {"HOURGLASS_UID": str(os.getuid() or _NOBODY), "HOURGLASS_GID": str(os.getgid() or _NOBODY)}
    return {**{name: secrets.token_urlsafe(24) for name in SECRETS}, **owner, "HOURGLASS_CHECKOUT": str(Path.cwd())}


def main() -> None:
    """Write the file, or leave the one that is there: databases know its passwords."""
    if FILE.exists():
        print(f"{FILE} is there already and stays as it is")
        return
    write_private(FILE, "".join(f"{name}={value}\n" for name, value in environment().items()))
    print(f"{FILE} written")


if __name__ == "__main__":
    run_main(main)
