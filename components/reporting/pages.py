"""How pages are made: Jinja with every text escaped, numbers written the project's way, no missing value unseen."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.comparing import wording


def environment(*folders: Path) -> Environment:
    """For the templates beside this file, and those in `folders` before them."""
    made = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_unbroken,
    )
    forms = {name: getattr(wording, name) for name in ("percent", "promised", "number", "ratio", "signed", "p_value")}
    made.filters |= forms
    made.globals |= {**forms, "interval": wording.interval}
    return made


def _unbroken(value: Any) -> Any:
    # a number and its percent sign stay on one line
    return value.replace(" %", "\u00a0%") if isinstance(value, str) else value
