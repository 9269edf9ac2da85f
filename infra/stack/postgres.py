"""PostgreSQL: the records of MLflow and of Prefect, each in a database that its own role alone may enter.

It refuses to run as root. There it becomes the user `postgres`, which Debian's package makes, and owns its data.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from components.runtime.errors import UserError
from infra.stack.server import Server
from infra.stack.settings import HOST, Settings, plain_environment

_ADMIN = "hourglass"
_USER = "postgres"
_INSTALL = "install PostgreSQL's server, e.g. apt-get install postgresql"
_MAKE_DATABASES = Path(__file__).with_name("databases.sh")


def server(settings: Settings) -> Server:
    """The server, its data made at the first start.

    Raises:
        UserError: PostgreSQL is not installed, or cannot reach its data.
    """
    binaries, data, port = _binaries(), settings.data("postgres"), settings.ports["postgres"]
    options = (f"listen_addresses={HOST}", f"port={port}", "unix_socket_directories=")
    command = [str(binaries / "postgres"), "-D", str(data), *(word for option in options for word in ("-c", option))]
    is_ready = [str(binaries / "pg_isready"), "-q", "-h", HOST, "-p", str(port)]
    return Server(
        name="postgres",
        command=(*_as_its_user(), *command),
        is_well=lambda: subprocess.run(is_ready, check=False, env=plain_environment()).returncode == 0,
        before=lambda: _make_data(binaries, settings),
        after=lambda: _make_databases(binaries, settings),
        stop_signal=signal.SIGINT,  # SIGTERM would wait until every client has left
    )


def url(settings: Settings, name: str, driver: str) -> str:
    """The address of one of the databases, with its password, for SQLAlchemy."""
    password, port = settings.secrets[f"{name}_database"], settings.ports["postgres"]
    return f"postgresql+{driver}://{name}:{password}@{HOST}:{port}/{name}"


def _binaries() -> Path:
    """Where the server lies: on PATH, or where Debian puts it, the newest first."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent  # a link to it may stand there alone
    installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    if not (places := sorted((path.parent for path in installed), key=lambda path: int(path.parent.name))):
        raise UserError("PostgreSQL", "is not installed", _INSTALL)
    return places[-1]


def _as_its_user() -> tuple[str, ...]:
    if os.geteuid():
        return ()
    return ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--")


def _make_data(binaries: Path, settings: Settings) -> None:
    data = settings.data("postgres")
    if (data / "PG_VERSION").exists():
        return
    if os.geteuid() == 0:
        _hand_over(data)
    with tempfile.NamedTemporaryFile("w") as password:
        password.write(settings.secrets["postgres"])
        password.flush()
        if os.geteuid() == 0:
            shutil.chown(password.name, _USER)
        options = ("--auth=scram-sha-256", f"--username={_ADMIN}", f"--pwfile={password.name}", "--encoding=UTF8")
        command = (*_as_its_user(), str(binaries / "initdb"), f"--pgdata={data}", "--locale=C", *options)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(str(data), f"PostgreSQL could not make it ({_last_line(done.stderr)})", "mend that, run again")


def _hand_over(data: Path) -> None:
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        raise UserError(_USER, "there is no such user to run PostgreSQL as, and it refuses root", _INSTALL) from None
    shutil.chown(data, _USER, _USER)
    if subprocess.run((*_as_its_user(), "test", "-w", str(data)), check=False).returncode:
        fix = "let others pass through the folders above it (chmod o+x), or run as another user than root"
        raise UserError(str(data), f"the user {_USER} cannot reach it", fix)


def _make_databases(binaries: Path, settings: Settings) -> None:
    environment = {
        **plain_environment(),
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PGHOST": HOST,
        "PGPORT": str(settings.ports["postgres"]),
        "PGPASSWORD": settings.secrets["postgres"],
        "POSTGRES_USER": _ADMIN,
        "MLFLOW_DATABASE_PASSWORD": settings.secrets["mlflow_database"],
        "PREFECT_DATABASE_PASSWORD": settings.secrets["prefect_database"],
    }
    done = subprocess.run(["sh", _MAKE_DATABASES], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        what = f"PostgreSQL could not make the databases ({_last_line(done.stderr)})"
        raise UserError(str(settings.data("postgres")), what, f"read {settings.log('postgres')}")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
