"""MLflow: records in PostgreSQL, artifacts in S3, which it alone touches: its clients need no key to S3."""

import sys

from infra.health import answers
from infra.stack import postgres, s3
from infra.stack.server import Server
from infra.stack.settings import HOST, Settings


def server(settings: Settings) -> Server:
    """The tracking server and registry."""
    port = str(settings.ports["mlflow"])
    return Server(
        name="mlflow",
        command=(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", port, "--workers", "1"),
        environment={
            "MLFLOW_BACKEND_STORE_URI": postgres.url(settings, "mlflow", "psycopg"),
            "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{s3.BUCKET}/mlflow",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # we send it no jobs, and its queues cost processes
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
            **s3.client_environment(settings),
        },
        is_well=lambda: answers(f"{settings.url('mlflow')}/health"),
    )


def client_environment(settings: Settings) -> dict[str, str]:
    """What leads MLflow's clients there, and nowhere past it: S3 refuses the signed addresses that it hands out."""
    direct = ("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD")
    return {"MLFLOW_TRACKING_URI": settings.url("mlflow"), **dict.fromkeys(direct, "false")}
