"""Figures in a page: an SVG file made safe to stand inside HTML, beside others and on any background."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from markupsafe import Markup

from components.reporting import INK

_ELEMENTS = {
    "svg", "g", "defs", "path", "use", "text", "tspan", "rect", "circle", "ellipse", "line", "polyline", "polygon",
    "image", "clipPath", "linearGradient", "radialGradient", "stop", "pattern", "marker", "mask", "title",
}  # fmt: skip
"""All that a figure may hold; a <style> would reach the whole page, a <script> has no business here."""
_REFERENCE = re.compile(r"url\(#")


def inline(path: Path, prefix: str, label: str) -> Markup:
    """The figure as an <svg> element: ids carry `prefix`, ink takes the page's text colour, `label` is read aloud."""
    root = ElementTree.parse(path).getroot()  # noqa: S314
    _clean(root, prefix)
    # the view box keeps the proportions, the page decides the size
    width = _pixels(root.attrib.pop("width", "100%"))
    root.attrib.pop("height", None)
    root.attrib |= {"role": "img", "aria-label": label, **({"style": f"width: {width}px"} if width else {})}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - serialised, so escaped


def _clean(element: ElementTree.Element, prefix: str) -> None:
    element.tag = _local(element.tag)
    attributes = {_local(name): _attribute(_local(name), value, prefix) for name, value in element.items()}
    element.attrib = {name: value for name, value in attributes.items() if value is not None}
    for child in list(element):
        if _local(child.tag) in _ELEMENTS:
            _clean(child, prefix)
        else:
            element.remove(child)
    if element.tag not in ("text", "tspan", "title"):
        element.text = None
        for child in element:
            child.tail = None


def _attribute(name: str, value: str, prefix: str) -> str | None:
    if name == "id":
        return prefix + value
    if name == "href":
        if value.startswith("#"):
            return f"#{prefix}{value[1:]}"
        return value if value.startswith("data:image/") else None
    if name.startswith("on"):
        return None
    return _REFERENCE.sub(f"url(#{prefix}", value).replace(INK, "currentColor")


def _local(name: str) -> str:
    # HTML knows SVG without its namespace
    return name.rpartition("}")[2]


def _pixels(length: str) -> int | None:
    points = re.fullmatch(r"([\d.]+)(?:pt)?", length)
    return round(float(points[1]) * 4 / 3) if points else None
