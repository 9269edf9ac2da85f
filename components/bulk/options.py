"""The command line of batch scoring, for a person's door and for the flow's."""

import argparse
from dataclasses import dataclass
from pathlib import Path

NEIGHBOURS = 5
"""Nearest training records, where no number is given."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    source: str
    """A file, a folder, or s3://BUCKET/PREFIX."""
    model: str | None = None
    """NAME@ALIAS or NAME/NUMBER; None is the champion of register.name."""
    out: Path | None = None
    """Folder of the answer; None is scores/SOURCE-NAME-NUMBER."""
    fdr: float | None = None
    """Share of the reported records that may be normal."""
    id: str | None = None
    """Column of a table that names its rows."""
    jobs: int = 0
    """Processes; 0 is as many as the CPUs allow."""
    skip_limit: int = 0
    """Parts of the input that may be unreadable."""
    dvc: bool = False
    """Version the answer with DVC."""
    with_codes: bool = False
    """Scores, and the code of each record beside them."""
    codes: bool = False
    """Codes instead of scores."""
    neighbours: int = 0
    """That many of the nearest training records instead of scores."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what names a `Request`."""
    add = parser.add_argument
    add("source", help="a file, a folder, or s3://BUCKET/PREFIX")
    add("--model", metavar="NAME@ALIAS", help="or NAME/NUMBER (the champion of register.name)")
    add("--out", type=Path, metavar="FOLDER", help="of the answer (scores/SOURCE-NAME-NUMBER)")
    add("--fdr", type=_share, metavar="Q", help="report records of which at most this share is normal, on average")
    add("--id", metavar="COLUMN", help="column of a table that names its rows (FILE:ROW)")
    add("--jobs", type=_whole, default=0, metavar="N", help="processes (CPUs / threads of params.yaml)")
    add("--skip-limit", type=_whole, default=0, metavar="N", help="unreadable parts that may be left out (0)")
    add("--dvc", action="store_true", help="version the answer: dvc add")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--with-codes", action="store_true", help="a column `code` beside the scores, for monitoring")
    kind.add_argument("--codes", action="store_true", help="codes instead of scores, by the encoder alone")
    others = {"type": _positive, "nargs": "?", "const": NEIGHBOURS, "default": 0, "metavar": "K"}
    kind.add_argument("--neighbours", **others, help=f"the K ({NEIGHBOURS}) nearest training records instead of scores")


def as_arguments(request: Request) -> list[str]:
    """The command line that asks for it."""
    named = {f"--{name.replace('_', '-')}": value for name, value in vars(request).items() if name != "source"}
    given = {name: value for name, value in named.items() if value not in (None, False, 0)}
    return [*(word for name, value in given.items() for word in _words(name, value)), "--", request.source]


def _words(name: str, value: object) -> list[str]:
    return [name] if value is True else [f"{name}={value}"]


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, got '{text}'")
    return share


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, got '{text}'")
    return int(text)


def _positive(text: str) -> int:
    if not _whole(text):
        raise argparse.ArgumentTypeError(f"must be at least 1, got '{text}'")
    return int(text)
