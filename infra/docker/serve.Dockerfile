# A registered version behind HTTP, and nothing else: no torch, none of this project's code.
#     docker build -f infra/docker/serve.Dockerfile -t hourglass-serve:0.1.0 .
#     docker run --read-only --tmpfs /tmp --env MLFLOW_TRACKING_URI=http://… hourglass-serve:0.1.0 models:/hourglass/3
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3 AS base

FROM base AS build
COPY infra/docker/serve.lock /tmp/serve.lock
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --requirement /tmp/serve.lock

FROM base AS serve
COPY --from=build /opt/venv /opt/venv
COPY infra/__init__.py infra/health.py /opt/hourglass/infra/
# the root is read-only when it runs: the version is fetched to /tmp
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 MLFLOW_DISABLE_TELEMETRY=true MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false GIT_PYTHON_REFRESH=quiet
WORKDIR /opt/hourglass
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=10s --start-period=1m CMD ["python", "-m", "infra.health", "http://127.0.0.1:8080/ping"]
ENTRYPOINT ["mlflow", "models", "serve", "--env-manager", "local", "--host", "0.0.0.0", "--port", "8080", "--model-uri"]
CMD ["models:/hourglass@champion"]
