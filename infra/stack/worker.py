"""A worker of Prefect's: runs what deployments schedule, as processes on this machine, against the stack's servers."""

import sys

from infra.health import answers
from infra.stack import mlflow, prefect, s3
from infra.stack.server import Server
from infra.stack.settings import HOST, Settings

POOL = "hourglass"


def server(settings: Settings) -> Server:
    """The worker, with the pool that it serves made at its first start."""
    return Server(
        name="worker",
        command=(
            *(sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"),
            *("--name", POOL, "--with-healthcheck", "--install-policy", "never"),
        ),
        environment={
            **prefect.home(settings),
            **client_environment(settings),
            "PREFECT_WORKER_WEBSERVER_HOST": HOST,
            "PREFECT_WORKER_WEBSERVER_PORT": str(settings.ports["worker"]),
        },
        is_well=lambda: answers(f"{settings.url('worker')}/health"),
    )


def client_environment(settings: Settings) -> dict[str, str]:
    """What leads a flow, a stage or a person at a shell to all of the servers."""
    return {
        **s3.client_environment(settings),
        **mlflow.client_environment(settings),
        **prefect.client_environment(settings),
    }
