"""The page of the strangest records: one HTML file, without scripts or network, that shows what stands behind them."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from components.bulk.answer import Strange
from components.bulk.graph import Graph
from components.bulk.inputs import READERS, named
from components.bulk.model import Model

_SIDE = 96
"""Pixels of the longer side of a picture on the page, at most and, by whole multiples, at least half as many."""


@dataclass(frozen=True)
class Shown:
    """One record on the page."""

    id: str
    says: str
    """How strange it is."""
    pictures: list[tuple[str, str]]
    """What it shows, then a data: address."""
    parts: list[tuple[str, str]]
    """Names and numbers of what makes it so."""


def render(shown: Sequence[Shown], title: str, lead: str, model: str) -> str:
    """The page."""
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([here, here.parent / "reporting" / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("strangest.html.j2").render(shown=shown, title=title, lead=lead, model=model)


def show_scored(
    strange: Sequence[Strange], model: Model, graph: Graph, id_column: str | None, work: Path
) -> list[Shown]:
    """Records with their `score` and `p_value`, their reconstructions, and what adds most to each score."""
    records = feeds(strange, model, id_column, work)
    return [_show(each, feed, model, graph) for each, feed in zip(strange, records, strict=True)]


def feeds(strange: Sequence[Strange], model: Model, by: str | None, work: Path) -> list[dict[str, np.ndarray]]:
    """The records themselves: column or `input`, then one value. Their pieces are read again, a batch at a time."""
    found = {}
    by_input = sorted(strange, key=lambda each: (each.placed.input.shown, each.placed.number, each.row))
    for source, of_input in groupby(by_input, key=lambda each: each.placed.input):
        with source.here(model, work) as pieces:
            for number, group in groupby(of_input, key=lambda each: each.placed.number):
                wanted = {each.row: each.placed.part.key for each in group}
                start = 0
                with named(pieces[number].files):
                    for batch in READERS[source.reader].batches(pieces[number], model, by):
                        for row in wanted.keys() & range(start, start + len(batch.ids)):
                            one = {name: values[row - start : row - start + 1] for name, values in batch.feed.items()}
                            found[wanted[row], row] = one
                        start += len(batch.ids)
                        if start > max(wanted):
                            break
    return [found[each.placed.part.key, each.row] for each in strange]


def _show(strange: Strange, feed: dict[str, np.ndarray], model: Model, graph: Graph) -> Shown:
    scored = graph.score(feed)
    parts = [(graph.names[at], f"{part:.3g}") for at, part in zip(scored.top[0], scored.parts[0], strict=True)]
    score, p_value = strange.values
    pictures = []
    if model.manifest.kind == "image":
        made = graph.reconstruct(feed["input"])[0]
        pictures = [("record", picture(feed["input"][0], model)), ("reconstruction", _address(made))]
    return Shown(strange.id, f"score {score:.4g}, p-value {p_value:.4g}", pictures, parts)


def picture(record: np.ndarray, model: Model) -> str:
    """A raw image (channel, height, width) as a data: address."""
    low, high = model.manifest.value_range
    return _address((record.astype(np.float32) - low) / ((high - low) or 1))


def _address(scaled: np.ndarray) -> str:
    """A PNG of values in 0..1 (channel, height, width), as a data: address."""
    values = np.rint(np.nan_to_num(scaled).clip(0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))
    longer = max(image.size)
    if longer > _SIDE:
        image.thumbnail((_SIDE, _SIDE))
    else:
        image = image.resize([side * (_SIDE // longer) for side in image.size], Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
