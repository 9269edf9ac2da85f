"""The command line of a flow."""

import argparse
from collections.abc import Callable


def parser(module: str, flow: Callable[..., object]) -> argparse.ArgumentParser:
    """The parser of `python -m MODULE`; what it finds are the arguments of `flow`."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=flow.__doc__.partition("\n")[0])
    add = made.add_argument
    add(
        "--jobs", type=_whole(1), default=0, metavar="N", help="stages at once (default: CPUs / threads of params.yaml)"
    )
    add("--refresh", action="store_true", help="fetch the data again, even if nothing seems to have changed")
    add("--retries", type=_whole(0), default=1, metavar="N", help="further attempts after a fault of the machine (1)")
    add("--timeout", type=_whole(1), metavar="SECONDS", help="limit for one stage (none)")
    add("--per-gpu", type=_whole(1), default=1, metavar="N", help="stages that share one GPU (1)")
    add("--wait", action="store_true", help="wait for another flow in this checkout instead of giving up")
    return made


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isdecimal() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more, got '{text}'")
        return int(text)

    return parse
