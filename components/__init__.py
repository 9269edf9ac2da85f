"""The life of a model: the stages of `dvc.yaml` and the acts outside the graph, one file each.

Every stage runs as `python -m components.NAME [VARIANT]`, so this file is the first one a wrong interpreter meets.
"""

import importlib.util
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - reached by people, not by packaging
    sys.stderr.write(
        f"error: python: 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}; "
        "install a newer Python and run `make setup`\n"
    )
    raise SystemExit(2)

if importlib.util.find_spec("pydantic") is None or importlib.util.find_spec("ruamel.yaml") is None:
    sys.stderr.write(
        f"error: environment: the packages are not installed for {sys.executable}; "
        "run `make setup`, then `. .venv/bin/activate`\n"
    )
    raise SystemExit(2)
