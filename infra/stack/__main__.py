"""Start, stop or look at the stack of this checkout.

    python -m infra.stack up [--port NAME=PORT …]      python -m infra.stack down      python -m infra.stack status
Out: `.stack/`: data, logs, secrets, and `env`, which a shell sources to use these servers. `down` leaves all of it.
Exit code 0: done, or for `status`, everything is well. 2: something the user can mend, told in a line. 1: not all well.
"""

import argparse
import fcntl
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.runtime.errors import UserError, run_main
from infra.stack import mlflow, postgres, prefect, processes, s3, worker
from infra.stack.server import Server
from infra.stack.settings import ROOT, SERVERS, Settings, open_settings, write_private

_STEPS = ((postgres, s3), (mlflow, prefect), (worker,))
"""Those of a step need only the steps before it, and come up side by side."""


def up(settings: Settings) -> None:
    """Start what does not run, wait until everything is well, and write `env`.

    Raises:
        UserError: a server does not come up; those that did stay.
    """
    for step in _STEPS:
        servers = [module.server(settings) for module in step]
        for server in servers:
            if processes.find(settings, server.name) is None:
                processes.start(settings, server)
        for server in servers:
            processes.wait_until_well(settings, server)
            print(_line(settings, server), flush=True)
    variables = worker.client_environment(settings)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    write_private(settings.root / "env", exports)
    print(f"use them:  . {ROOT / 'env'} && make run")


def down(settings: Settings) -> None:
    """Stop what runs, the last first, and leave the data."""
    for module in reversed([module for step in _STEPS for module in step]):
        server = module.server(settings)
        ran = processes.stop(settings, server.name, server.stop_signal)
        print(f"{server.name:9} {'stopped' if ran else 'did not run'}", flush=True)


def status(settings: Settings) -> bool:
    """Print how each server is; returns whether all are well."""
    servers = [module.server(settings) for step in _STEPS for module in step]
    for server in servers:
        print(_line(settings, server))
    return all(processes.find(settings, server.name) and server.is_well() for server in servers)


def _line(settings: Settings, server: Server) -> str:
    if (process := processes.find(settings, server.name)) is None:
        return f"{server.name:9} does not run"
    state = "well" if server.is_well() else "not well"
    return f"{server.name:9} {state}  port {settings.ports[server.name]}  process {process.pid}"


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One command at a time."""
    with (root / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _port(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in SERVERS or not number.isdecimal() or not 0 < int(number) < 65536:
        raise argparse.ArgumentTypeError(f"must be NAME=PORT, NAME one of {', '.join(SERVERS)}, got '{text}'")
    return name, int(number)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.stack", description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--port", type=_port, action="append", default=[], metavar="NAME=PORT", help="not a free one")
    options = parser.parse_args()
    if options.command != "up" and not (ROOT / "ports.json").exists():
        raise UserError(str(ROOT), "there is no stack in this checkout", "start one with `make stack`")
    settings = open_settings(ROOT, dict(options.port))
    with _alone(settings.root):
        if options.command == "up":
            up(settings)
        elif options.command == "down":
            down(settings)
        elif not status(settings):
            raise SystemExit(1)


if __name__ == "__main__":
    run_main(main)
