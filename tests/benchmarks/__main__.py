"""Run the benchmarks named on the command line, or all of them; exit code 1 when a bound is missed."""

import importlib
import pkgutil
import sys

import tests.benchmarks as package

ALL = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name not in ("__main__", "ratios", "loops"))


def main() -> None:
    """Print one line per claim."""
    missed = 0
    for name in sys.argv[1:] or ALL:
        print(f"== {name}", flush=True)
        for ratio in importlib.import_module(f"tests.benchmarks.{name}").measure():
            print(ratio, flush=True)
            missed += not ratio.holds
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
