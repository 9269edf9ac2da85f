"""Check params.yaml as a whole, against all stages, models and sources: `python -m components.params [FILE …]`.

Exit code 0 and a line of summary, or exit code 2 and the one thing to change. No data is read. Files are checked in
the place of params.yaml.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.params import (
    MAPPINGS,
    PARAMS_FILE,
    Globals,
    baselines,
    load_globals,
    load_section,
    read_params,
    section_names,
    unknown,
    variants,
)
from components.runtime.errors import UserError, run_main


def check_all(raw: Mapping[str, Any]) -> None:
    """Check every section, the numbers outside of sections, every variant and every baseline.

    Raises:
        UserError: for the first thing that is wrong.
    """
    load_globals(raw)
    names = section_names()
    for key in raw:
        if key not in names and key not in MAPPINGS and key not in Globals.model_fields:
            raise unknown("", "section", str(key), [*names, *MAPPINGS, *Globals.model_fields])
    for name in names:
        if name not in raw:
            raise UserError(name, "is missing", f"add the section to {PARAMS_FILE}, at least as `{name}: {{}}`")
        load_section(name, raw)
    variants.resolve_all(raw)
    baselines.resolve_all(raw)
    for name in load_section("analyse", raw).variants:
        if name not in raw["variants"]:
            raise unknown("analyse.variants", "variant", name, raw["variants"])


def main() -> None:
    """Check and say so."""
    for file in map(Path, sys.argv[1:] or [PARAMS_FILE]):
        raw = read_params(file)
        check_all(raw)
        told = [f"{len(raw[key])} {key}: {', '.join(raw[key]) or 'none'}" for key in MAPPINGS]
        print(f"{file}: ok ({'; '.join(told)})")


if __name__ == "__main__":
    run_main(main)
