"""params.yaml: every number that changes a result, one typed class per section, checked as a whole.

Section NAME is the class `Params` in `components/params/NAME.py`; a new stage brings its own and touches no other.
A stage loads its own section; `python -m components.params`, the flow's first act, checks everything.
"""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML, YAMLError

from components.runtime.errors import UserError

PARAMS_FILE = Path("params.yaml")
MAPPINGS = ("variants", "baselines")
"""Keys of params.yaml that hold entries with names of their own; each has its file here, like a section."""
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class Section(BaseModel):
    """One section of params.yaml: strict types, no unknown keys, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Options(Section, use_attribute_docstrings=True):
    """What a user may set of one entry of a registry; its fields' docstrings stand in catalogues."""


class Globals(Section):
    """The numbers at the top level of params.yaml."""

    seed: int = Field(ge=0, lt=2**31)
    """Decides initial weights, batches and corruption; never the splits."""
    threads: int = Field(ge=1, le=256)
    """CPU threads of one stage; sums depend on it, so it is a param (`--jobs` says how many stages run at once)."""


SectionT = TypeVar("SectionT", bound=BaseModel)


def section_names() -> list[str]:
    """The sections of params.yaml that are classes, from the listing of this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in ("__main__", *MAPPINGS))


def read_params(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """params.yaml as plain data.

    Raises:
        UserError: the file is missing, is no YAML 1.2, repeats a key or is no mapping.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(str(path), "is missing", "run in the root of the checkout") from None
    except UnicodeDecodeError as error:
        raise UserError(str(path), f"is not UTF-8 (byte {error.start})", "save it as UTF-8") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise UserError(f"{path}{line}", f"is not valid YAML: {problem}", "mend that line") from None
    if not isinstance(raw, dict):
        raise UserError(str(path), "must be a mapping of sections", "restore it from git")
    return raw


def load_section(name: str, raw: Mapping[str, Any] | None = None) -> Any:
    """The validated section `name` of params.yaml (its class is `components.params.NAME.Params`)."""
    raw = read_params() if raw is None else raw
    return validate(importlib.import_module(f"components.params.{name}").Params, raw.get(name), name)


def load_globals(raw: Mapping[str, Any] | None = None) -> Globals:
    """The validated top-level numbers of params.yaml."""
    raw = read_params() if raw is None else raw
    return validate(Globals, {key: raw[key] for key in Globals.model_fields if key in raw}, "")


def validate(cls: type[SectionT], value: Any, where: str) -> SectionT:
    """Build `cls` from a part of params.yaml.

    Raises:
        UserError: names the first wrong key, the rule, the value found and, for an unknown key, the nearest known one.
    """
    try:
        return cls.model_validate({} if value is None else value)
    except ValidationError as error:
        raise _user_error(cls, error.errors()[0], where) from None


def mapping(value: Any, where: str, example: str) -> Mapping[Any, Any]:
    """A part of params.yaml that must be a mapping.

    Raises:
        UserError: it is none; `example` shows an entry.
    """
    if not isinstance(value, Mapping):
        raise UserError(where, f"must be a mapping, got {value!r}", f"write it as `{example}`")
    return value


def check_name(name: Any, where: str) -> None:
    """Refuse a name that cannot be a folder's and a stage's.

    Raises:
        UserError: says what a name is.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(where, "a name is lower-case letters, digits, '-' and '_', a letter first", "rename it")


def _user_error(cls: type[BaseModel], detail: ErrorDetails, where: str) -> UserError:
    # discriminators of unions are no part of the key as the user wrote it
    path = ".".join(str(part) for part in (where, *detail["loc"]) if part != "")
    if detail["type"] == "extra_forbidden":
        return unknown(path.rpartition(".")[0], "key", str(detail["loc"][-1]), _fields_at(cls, detail["loc"][:-1]))
    if detail["type"] == "missing":
        return UserError(path, "is missing", "add it to params.yaml")
    rule = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if detail["type"] != "value_error":
        rule = "must be " + rule.removeprefix("a valid ")
    found = "" if isinstance(detail["input"], dict) else f", got {detail['input']!r}"
    return UserError(path, rule + found, f"change {path} in params.yaml")


def _fields_at(cls: type[BaseModel], loc: Iterable[int | str]) -> list[str]:
    for part in loc:
        annotation = cls.model_fields[str(part)].annotation if str(part) in cls.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        cls = annotation
    return sorted(cls.model_fields)


def unknown(where: str, kind: str, got: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not known: with the nearest known one and all known ones."""
    known = sorted(known)
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    guess = f"did you mean '{near[0]}'? " if near else ""
    return UserError(where or "params.yaml", f"unknown {kind} '{got}'", f"{guess}known: {', '.join(known)}")
