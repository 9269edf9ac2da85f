"""What a refresh changed about the data, in words: each function compares the schema before with the manifest now."""

from collections.abc import Mapping

from components.data.splits import Manifest
from components.preparing.previous import DROPPED, Previous, column_kinds


def breaks(before: Previous, now: Manifest) -> list[str]:
    """What is gone or of another kind: the record itself, columns, classes."""
    # features of a table follow from its columns and levels, which may grow
    named = ("kind",) if now.kind == "table" else ("kind", "item_shape", "dtype")
    pairs = [(name.replace("_", " "), getattr(before, name), getattr(now, name)) for name in named]
    changed = [f"{name} was {old} and is {new}" for name, old, new in pairs if old != new]
    columns = column_kinds(now.to_json())
    gone = [f"column '{name}' is gone" for name in before.columns if name not in columns]
    retyped = [
        f"column '{name}' was {kind} and is {columns[name]}"
        for name, kind in before.columns.items()
        if name in columns and kind not in (DROPPED, columns[name])
    ]
    classes = [f"class '{name}' is gone" for name in before.classes if name not in now.classes]
    return [*changed, *gone, *retyped, *classes]


def additions(before: Previous, now: Manifest) -> list[str]:
    """Columns and classes that are new, or that were there and are used for the first time."""
    columns = [
        f"column '{name}' is {'used now' if name in before.columns else 'new'}"
        for name, kind in column_kinds(now.to_json()).items()
        if before.columns.get(name, DROPPED) == DROPPED and (kind != DROPPED or name not in before.columns)
    ]
    return columns + [f"class '{name}' is new" for name in now.classes if name not in before.classes]


def departures(before: Mapping[str, list[float]], now: Mapping[str, list[float]], margin: float) -> list[str]:
    """Columns whose values leave their old range by more than `margin` times its width."""
    both = [(name, *before[name], *now[name]) for name in now if name in before]
    return [
        f"'{name}' now reaches from {new_low:g} to {new_high:g}, before from {low:g} to {high:g}"
        for name, low, high, new_low, new_high in both
        if min(new_low - low, high - new_high) < -margin * (high - low)
    ]
