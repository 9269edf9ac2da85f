"""Numbers as people read them, one way for the terminal, the gates and the report."""

from collections.abc import Callable, Mapping


def percent(share: float) -> str:
    """A measured share: 0.0443 is '4.4 %'; a rare one keeps a significant digit."""
    return f"{100 * share:.1f} %" if share == 0 or share >= 0.001 else f"{100 * share:.1g} %"


def promised(share: float) -> str:
    """A share that somebody chose, with the digits they chose: 0.05 is '5 %'."""
    return f"{100 * share:.6g} %"


def number(value: float) -> str:
    """Four significant digits, integers with thousands separated: 0.02345, 12,345."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{int(value):,}"
    return f"{value:.4g}"


def ratio(value: float) -> str:
    """A ratio or an AUROC to three decimals, never rounded up to a perfect 1."""
    return f"{0.999 if 0.9995 <= value < 1 else value:.3f}"


def interval(metrics: Mapping[str, float], name: str, form: Callable[[float], str] = ratio) -> str:
    """'0.661 to 0.727', or nothing where the metric has no interval."""
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return "" if low is None or high is None else f"{form(low)} to {form(high)}"


def signed(value: float) -> str:
    """A difference to three significant digits, always with its sign: '+0.0123', '−0.00045'."""
    return f"{value:+.3g}".replace("-", "\u2212", 1) if value else "0"


def p_value(p: float) -> str:
    """Two significant digits, as far as anyone should care: '0.032', '< 0.001'."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"
