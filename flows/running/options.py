"""The options of a flow: its command line, and the types that Prefect's pages hold them to."""

import argparse
from collections.abc import Callable
from typing import Annotated

from annotated_types import Ge, Gt

Count = Annotated[int, Ge(0)]
Least1 = Annotated[int, Ge(1)]
Seconds = Annotated[float, Gt(0)]


def parser(module: str, flow: Callable[..., object]) -> argparse.ArgumentParser:
    """The parser of `python -m MODULE` with what every flow takes; what it finds are the arguments of `flow`."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=flow.__doc__.partition("\n")[0])
    add = made.add_argument
    add("--jobs", type=whole(1), default=0, metavar="N", help="stages at once (default: CPUs / threads of params.yaml)")
    add("--timeout", type=whole(1), metavar="SECONDS", help="limit for one of them (none)")
    add("--per-gpu", type=whole(1), default=1, metavar="N", help="stages that share one GPU (1)")
    add("--wait", action="store_true", help="wait for another flow in this checkout instead of giving up")
    return made


def whole(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number, `least` or more."""

    def parse(text: str) -> int:
        if not (text.isdecimal() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more, got '{text}'")
        return int(text)

    return parse
