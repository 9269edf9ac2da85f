"""Prefect's server: schedules and the record of flows, in PostgreSQL; it answers only those who know its secret."""

import sys

from infra.health import answers
from infra.stack import postgres
from infra.stack.server import Server
from infra.stack.settings import HOST, Settings


def server(settings: Settings) -> Server:
    """The API, the pages and the scheduler."""
    port = str(settings.ports["prefect"])
    return Server(
        name="prefect",
        command=(sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", port),
        environment={
            **home(settings),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url(settings, "prefect", "asyncpg"),
            "PREFECT_SERVER_API_AUTH_STRING": _auth(settings),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_UI_URL": settings.url("prefect"),  # for links in what it tells people
        },
        is_well=lambda: answers(f"{settings.url('prefect')}/api/health"),
    )


def client_environment(settings: Settings) -> dict[str, str]:
    """What leads Prefect's clients there, and lets them in."""
    return {"PREFECT_API_URL": f"{settings.url('prefect')}/api", "PREFECT_API_AUTH_STRING": _auth(settings)}


def home(settings: Settings) -> dict[str, str]:
    """Prefect's folder, apart from the one that serves without a stack."""
    return {"PREFECT_HOME": str(settings.data("prefect")), "DO_NOT_TRACK": "1"}


def _auth(settings: Settings) -> str:
    return f"hourglass:{settings.secrets['prefect_api']}"
