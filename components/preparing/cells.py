"""Cells of a table: from strings as written to what preprocess.onnx takes, and nothing a cell could mean by accident.

Numbers are decimal (`-1.5e3`), dates ISO 8601 (`2026-01-31`, with or without a time; zones are brought to UTC),
booleans the words of `components.data.columns`. Spaces around a cell do not count.
"""

import numpy as np
import pandas as pd

from components.data.columns import FALSE_WORDS, MISSING, TRUE_WORDS, ColumnKind

LARGEST = float(np.finfo(np.float32).max)
"""Largest number that a model can be fed."""
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(?i:inf|infinity)"
_DATE = r"\d{4}-\d{2}-\d{2}"
_DAY = 86_400_000_000  # microseconds


def tidy(cells: pd.Series) -> pd.Series:
    """The same cells without spaces around them, '' where they say that there is no value."""
    stripped = cells.str.strip()
    return stripped.mask(stripped.isin(MISSING), "")


def to_numbers(cells: pd.Series) -> np.ndarray:
    """(cell,) float64; NaN where a cell is no number, infinity where it is too large for one."""
    numbers = np.full(len(cells), np.nan)
    written = cells.str.fullmatch(_NUMBER).to_numpy(bool)
    numbers[written] = cells[written].astype("float64")
    return numbers


def to_instants(cells: pd.Series) -> np.ndarray:
    """(cell,) datetime64[us] in UTC; NaT where a cell is no date."""
    instants = np.full(len(cells), np.datetime64("NaT", "us"))
    dated = cells.str.match(_DATE).to_numpy(bool)
    if dated.any():
        # a fraction of more than six digits would narrow the range of years to 1678..2262
        texts = cells[dated].str.replace(r"(\.\d{6})\d+", r"\1", regex=True)
        parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
        instants[dated] = parsed.dt.tz_localize(None).to_numpy("datetime64[us]")
    return instants


def to_days(cells: pd.Series, origin: str) -> np.ndarray:
    """(cell,) float32 days since `origin`, subtracted in float64; NaN where a cell is no date."""
    instants = to_instants(cells)
    elapsed = (instants - np.datetime64(origin, "us")).astype(np.int64).astype(np.float64) / _DAY
    return np.where(np.isnat(instants), np.nan, elapsed).astype(np.float32)


def to_words(cells: pd.Series) -> pd.Series:
    """'true' or 'false'; '' where a cell is neither."""
    lower = cells.str.lower()
    return pd.Series(
        np.select([lower.isin(TRUE_WORDS), lower.isin(FALSE_WORDS)], ["true", "false"], ""), cells.index, "str"
    )


def canonical(cells: pd.Series, kind: ColumnKind, origin: str | None) -> np.ndarray:
    """Tidy cells of a column as preprocess.onnx takes them: (cell,) float32, or str objects."""
    if kind == "numeric":
        return to_numbers(cells).astype(np.float32)
    if kind == "date":
        return to_days(cells, str(origin))
    return (to_words(cells) if kind == "boolean" else cells).to_numpy(object)
