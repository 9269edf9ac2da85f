"""Check params.yaml as a whole: `python -m components.params`.

Exit code 0 and a line of summary, or exit code 2 and the one thing to change.
"""

from components.params import PARAMS_FILE, check_all, read_params
from components.runtime.errors import run_main


def main() -> None:
    """Check and say so."""
    raw = read_params()
    check_all(raw)
    print(f"{PARAMS_FILE}: ok ({len(raw['variants'])} variants: {', '.join(raw['variants'])})")


if __name__ == "__main__":
    run_main(main)
