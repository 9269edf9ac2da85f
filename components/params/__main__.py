"""Check params.yaml as a whole, against all stages, models and sources: `python -m components.params [FILE …]`.

Exit code 0 and a line of summary, or exit code 2 and the one thing to change. No data is read. Files are checked in
the place of params.yaml.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.params import PARAMS_FILE, Globals, load_globals, load_section, read_params, section_names, unknown
from components.params.variants import resolve_all
from components.runtime.errors import UserError, run_main


def check_all(raw: Mapping[str, Any]) -> None:
    """Check every section, the numbers outside of sections, and every variant.

    Raises:
        UserError: for the first thing that is wrong.
    """
    load_globals(raw)
    names = section_names()
    for key in raw:
        if key not in names and key != "variants" and key not in Globals.model_fields:
            raise unknown("", "section", str(key), [*names, "variants", *Globals.model_fields])
    for name in names:
        if name not in raw:
            raise UserError(name, "is missing", f"add the section to {PARAMS_FILE}, at least as `{name}: {{}}`")
        load_section(name, raw)
    resolve_all(raw)
    for name in load_section("analyse", raw).variants:
        if name not in raw["variants"]:
            raise unknown("analyse.variants", "variant", name, raw["variants"])


def main() -> None:
    """Check and say so."""
    for file in map(Path, sys.argv[1:] or [PARAMS_FILE]):
        raw = read_params(file)
        check_all(raw)
        print(f"{file}: ok ({len(raw['variants'])} variants: {', '.join(raw['variants'])})")


if __name__ == "__main__":
    run_main(main)
