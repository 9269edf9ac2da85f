"""The schema that rows of a table must keep, as a pandera one: a type for each column, and the range params declare.

It looks at canonical columns: numbers and dates as float32 with NaN where missing, everything else as strings.
pandera is imported when it is needed: it takes longer than many a table.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.data.columns import ColumnKind

if TYPE_CHECKING:
    import pandas as pd
    from pandera.pandas import DataFrameSchema


def table_schema(kinds: Mapping[str, ColumnKind], ranges: Mapping[str, tuple[float, float]]) -> "DataFrameSchema":
    """A schema of exactly these columns, in this order.

    Args:
        kinds: column, then its kind.
        ranges: column of numbers, then the smallest and largest value it may hold; missing cells may be anywhere.
    """
    import pandera.pandas as pa

    def column(name: str, kind: ColumnKind) -> pa.Column:
        numbers = kind in ("numeric", "date")
        checks = [pa.Check.in_range(*ranges[name])] if name in ranges else []
        return pa.Column("float32" if numbers else str, checks, nullable=numbers)

    return pa.DataFrameSchema({name: column(name, kind) for name, kind in kinds.items()}, strict=True, ordered=True)


def failures(schema: "DataFrameSchema", chunk: "pd.DataFrame") -> dict[str, int]:
    """Column, then how many cells of a chunk lie outside of its range.

    Raises:
        SchemaErrors: columns or types are other than the schema says, which is a fault of whoever made the chunk.
    """
    from pandera.errors import SchemaErrors

    counts = dict.fromkeys(schema.columns, 0)
    try:
        schema.validate(chunk, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        if cases["index"].isna().any():  # what concerns a whole column stands on no row
            raise
        counts |= {name: int(count) for name, count in cases.groupby("column")["index"].nunique().items()}
    return counts
