"""Tables whose cells do not fit their column, or that do not fit what params say of them."""

import pandas as pd

from bad_inputs.tables import NAME, case, exactly, from_good, good, one_cell, write_good

LABEL = {"label": "state", "normal_classes": ["ok"]}

CASES = [
    case("one record", exactly(b"x,y\n1,2\n"), "artifacts/ingest: the table has one row; add rows"),
    case(
        "1e400",
        one_cell("x", 7, "1e400"),
        "artifacts/ingest: column 'x', row 7: '1e400' is beyond the largest number, 3.4e+38; "
        "mend the cell, or leave it empty",
    ),
    case(
        "infinity",
        one_cell("x", 7, "-inf"),
        "artifacts/ingest: column 'x', row 7: '-inf' is beyond the largest number, 3.4e+38; "
        "mend the cell, or leave it empty",
    ),
    case(
        "beyond float32",
        one_cell("x", 7, "1e39"),
        "artifacts/ingest: column 'x', row 7: '1e39' is beyond the largest number, 3.4e+38; "
        "mend the cell, or leave it empty",
    ),
    case(
        "word among numbers",
        one_cell("y", 7, "many"),
        "artifacts/ingest: column 'y', row 7: 'many' among numbers; mend the cell, or declare prepare.columns.y",
    ),
    case(
        "word among dates",
        one_cell("day", 7, "yesterday"),
        "artifacts/ingest: column 'day', row 7: 'yesterday' among dates; mend the cell, or declare prepare.columns.day",
    ),
    case(
        "day that is none",
        one_cell("day", 7, "2026-02-30"),
        "artifacts/ingest: column 'day', row 7: '2026-02-30' among dates; "
        "mend the cell, or declare prepare.columns.day",
    ),
    case(
        "declared numeric",
        write_good,
        "prepare.columns.city: declares 'numeric', and row 1 holds 'Oslo'; "
        "mend the cell, or declare it categorical or drop",
        {"columns": {"city": "numeric"}},
    ),
    case(
        "declared date",
        write_good,
        "prepare.columns.city: declares 'date', and row 1 holds 'Oslo'; "
        "write dates like 2026-01-31, or declare it categorical or drop",
        {"columns": {"city": "date"}},
    ),
    case(
        "declared boolean",
        one_cell("city", 1, "yes"),
        "prepare.columns.city: declares 'boolean', and row 2 holds 'Oslo'; "
        "write true or false, or declare it categorical or drop",
        {"columns": {"city": "boolean"}},
    ),
    case(
        "all records identical",
        exactly(b"x,y\n" + b"1,2\n" * 50),
        "artifacts/ingest: no column is of use: x (constant), y (constant); "
        "check the table, or declare kinds in prepare.columns",
    ),
    case(
        "all cells empty",
        exactly(b"x,y\n" + b"NA,?\n" * 50),
        "artifacts/ingest: no column is of use: x (all missing), y (all missing); "
        "check the table, or declare kinds in prepare.columns",
    ),
    case(
        "all columns dropped",
        from_good(lambda t: t[["x", "y"]]),
        "artifacts/ingest: no column is of use: x (declared), y (declared); "
        "check the table, or declare kinds in prepare.columns",
        {"columns": dict.fromkeys(("x", "y"), "drop")},
    ),
    case(
        "only a label",
        from_good(lambda t: t[["state"]]),
        "artifacts/ingest: no column is of use: there is none beside label and group; "
        "check the table, or declare kinds in prepare.columns",
        LABEL,
    ),
    case(
        "all levels rare",
        from_good(lambda t: pd.DataFrame({"word": [f"w{row // 2}" for row in range(60)]})),
        "artifacts/ingest: "
        "no column is of use: word (every level is rarer than prepare.min_level_count (5) in train); "
        "check the table, or declare kinds in prepare.columns",
    ),
    case(
        "label column unknown",
        write_good,
        "prepare.label: unknown column 'stat'; did you mean 'state'? known: city, day, state, x, y",
        {"label": "stat"},
    ),
    case(
        "label empty",
        one_cell("state", 7, ""),
        "prepare.label: column 'state' is empty in row 7; fill the cell, or remove the row",
        LABEL,
    ),
    case(
        "label is no label",
        lambda folder: good(2000).assign(state=range(2000)).to_csv(folder / NAME, index=False),
        "prepare.label: column 'state' has more than 1,000 values; name a column of classes, or null",
        {"label": "state"},
    ),
    case(
        "label value that never occurs",
        write_good,
        "prepare.normal_classes: unknown class 'fine'; known: bad, ok",
        {"label": "state", "normal_classes": ["fine"]},
    ),
    case(
        "normal classes and no label",
        write_good,
        "prepare.normal_classes: is set and the data has no labels; set it to null, or name prepare.label",
        {"normal_classes": ["ok"]},
    ),
    case(
        "almost all labels anomalous",
        from_good(lambda t: t.assign(state=["ok", *["bad"] * 59])),
        "prepare.fractions.train: no normal record falls into train (60 records in all); "
        "give it a larger share, or add records",
        LABEL,
    ),
    case(
        "group column unknown",
        write_good,
        "prepare.group: unknown column 'patient'; did you mean 'state'? known: city, day, state, x, y",
        {"group": "patient"},
    ),
    case(
        "group empty",
        one_cell("city", 7, "NA"),
        "prepare.group: column 'city' is empty in row 7; fill the cell, or remove the row",
        {"group": "city"},
    ),
    case(
        "label and group alike",
        write_good,
        "prepare: label and group are both 'state', and classes are no groups; change prepare in params.yaml",
        {"label": "state", "group": "state"},
    ),
    case(
        "declared column unknown",
        write_good,
        "prepare.columns: unknown column 'citi'; did you mean 'city'? known: city, day, state, x, y",
        {"columns": {"citi": "categorical"}},
    ),
    case(
        "unknown kind",
        write_good,
        "prepare.columns.city: must be 'numeric', 'boolean', 'categorical', 'date' or 'drop', got 'text'; "
        "change prepare.columns.city in params.yaml",
        {"columns": {"city": "text"}},
    ),
    case(
        "range of an unknown column",
        write_good,
        "prepare.ranges: unknown column 'z'; known: city, day, state, x, y",
        {"ranges": {"z": [0, 1]}},
    ),
    case(
        "range of words",
        write_good,
        "prepare.ranges.city: column 'city' is categorical, only numeric ones have a range; "
        "remove the range, or declare the column numeric",
        {"ranges": {"city": [0, 1]}},
    ),
    case(
        "range upside down",
        write_good,
        "prepare.ranges: must be [lowest, highest], got [1, 0] for x; change prepare.ranges in params.yaml",
        {"ranges": {"x": [1, 0]}},
    ),
    case(
        "column named as the graph's output",
        from_good(lambda t: t.rename(columns={"x": "features"})),
        "artifacts/ingest: column 'features' has a name that the exported files need themselves; rename it, or set "
        "prepare.columns.features to drop",
    ),
    case(
        "label without a table",
        lambda _: None,
        "prepare.label: is for tables, and source 'digits' holds images; remove it from params.yaml",
        {"label": "state"},
        source="digits",
    ),
]
