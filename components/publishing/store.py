"""The way to MLflow: opened quickly, quietly and in the right place, or refused with one line."""

import functools
import logging
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.publishing.key import STORE, is_default_store, tracking_uri
from components.runtime.errors import UserError, without_logins

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

ARTIFACT_ROOT = Path("mlartifacts")
TAG = "hourglass."
KEY_TAG = f"{TAG}key"
_KNOCK_SECONDS = 4
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# answers of a store that works to a request that is wrong: a fault of ours, which keeps its traceback
_OURS = (
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
)
# MLflow would rather retry for minutes; what is missing is published by the next run, so ours gives up in seconds
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # requirements are given, not exported from a project that happens to lie here
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Store:
    """MLflow's client and the name under which this project writes: of the experiment and of the registered model."""

    client: "MlflowClient"
    name: str

    @functools.cached_property
    def experiment_id(self) -> str:
        """The experiment, created at its first use.

        Raises:
            UserError: it was deleted, or belongs to another checkout.
        """
        experiment = self.client.get_experiment_by_name(self.name)
        if experiment is None:
            # a server decides itself where artifacts lie; a database knows no place but the checkout
            remote = urlsplit(tracking_uri()).scheme in ("http", "https")
            root = None if remote else (ARTIFACT_ROOT.resolve() / self.name).as_uri()
            return self.client.create_experiment(self.name, artifact_location=root)
        if experiment.lifecycle_stage != "active":
            fix = f"run `mlflow experiments restore -x {experiment.experiment_id}` or change register.name"
            raise UserError("register.name", f"the experiment '{self.name}' was deleted in MLflow", fix)
        _check_home(experiment)
        return experiment.experiment_id


@contextmanager
def open_store(name: str) -> Iterator[Store]:
    """The tracking store.

    Raises:
        UserError: the store is away, or breaks down inside the block.
    """
    uri = tracking_uri()
    _check_reachable(uri)
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    # alembic reports each migration of a new SQLite file, urllib3 each retry
    for chatty in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if is_default_store():
        uri = f"sqlite:///{STORE.resolve()}"  # MLflow keeps one engine per address, wherever the process has moved to
    client = None
    try:
        client = MlflowClient(tracking_uri=uri)
        yield Store(client, name)
    except (MlflowException, SQLAlchemyError, RequestException) as error:
        if client and isinstance(error, MlflowException) and error.error_code in _OURS:
            raise
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(tracking_uri(), f"the tracking store failed ({first_line})", _fix()) from error


def _fix() -> str:
    mend = f"mend or delete {STORE}" if is_default_store() else "mend or start it, or unset MLFLOW_TRACKING_URI"
    return f"{mend}, then run again: finished stages are kept and what is missing is published"


def _check_reachable(uri: str) -> None:
    """Knock once: MLflow takes seconds to import, and up to minutes to give up on a server that does not answer."""
    parts = urlsplit(uri)
    port = parts.port or _DATABASE_PORTS.get(parts.scheme.partition("+")[0])
    try:
        if parts.scheme in ("http", "https"):
            url = f"{without_logins(uri).rstrip('/')}/health"
            urllib.request.urlopen(url, timeout=_KNOCK_SECONDS).close()  # noqa: S310 - the scheme was looked at
        elif parts.hostname and port:
            socket.create_connection((parts.hostname, port), timeout=_KNOCK_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers; whether it is well, MLflow will tell
    except OSError as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return  # MLflow has settings of its own for certificates
        raise UserError(uri, f"the tracking server is away ({reason})", _fix()) from None


def _check_home(experiment: "Experiment") -> None:
    """A copied checkout must not write into the one it was copied from."""
    found = Path(urlsplit(experiment.artifact_location).path)
    if is_default_store() and found.parent != ARTIFACT_ROOT.resolve():
        fix = f"move the checkout back, or delete {STORE} and {ARTIFACT_ROOT}/ to begin a new registry here"
        raise UserError(str(STORE), f"was made in another checkout, its artifacts lie in {found}", fix)
