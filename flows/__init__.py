"""When and where the stages of dvc.yaml run: schedules, parallelism, retries, one log. What depends on what, DVC knows.

Importing this package fixes the environment of Prefect and DVC, which read it once, when they are imported themselves.
Whatever the operator has set stands.
"""

import os
from pathlib import Path

import components  # noqa: F401 - refuses a Python that is too old, or an environment without packages, in one line

_LINE = "%(asctime)s {} %(message)s"
_DEFAULTS = {
    # the clone is the unit of isolation; a ~/.prefect of another version stops an embedded server
    "PREFECT_HOME": str(Path(".prefect").absolute()),
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # the first start migrates a database: 20 s, Prefect's limit, are too few on two busy cores
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # SQLite lets one write at a time: wait for it rather than fail with "database is locked"
    "PREFECT_SERVER_DATABASE_TIMEOUT": "120",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "120",
    # DVC keeps results and decides what is stale
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    # one log for the operator: time, stage, line
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": _LINE.format("%(flow_name)-18s"),
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": _LINE.format("%(task_run_name)-18s"),
}
if Path(".dvc").is_dir():  # elsewhere it would make one, which the next command would take for a project
    # DVC's memory of digests, by default in /var/tmp; its config takes no path relative to the checkout
    _DEFAULTS["DVC_SITE_CACHE_DIR"] = str(Path(".dvc/tmp/site").absolute())
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
