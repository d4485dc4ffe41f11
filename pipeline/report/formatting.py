"""Values as a person reads them."""

import math
from datetime import UTC, datetime

_JOINERS = "\u200c\u200d"  # invisible, but part of names in many scripts and of most emoji


def shown(text: object) -> str:
    """A text with what cannot be seen, or turns the text around it, written as its code."""
    return "".join(
        mark if mark.isprintable() or mark in _JOINERS else mark.encode("unicode_escape").decode() for mark in str(text)
    )


def number(value: float | None, digits: int = 2) -> str:
    """``12,345``, ``0.71``; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:,.{digits}f}"


def percent(part: float | None, whole: float = 1) -> str:
    """Of a whole, with enough digits that something is never nothing; what is not all of it never ``100 %``."""
    if part is None or not whole:
        return "–"
    share = 100 * part / whole
    return f"{share:.3g} %" if 0 < share < 1 else f"{min(share, 99.9):.1f} %" if share % 1 else f"{share:.0f} %"


def seconds(value: float | None) -> str:
    """``24 ms``, ``3.1 s``, ``5 min``, ``2:40 h``."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 0.9995:  # else it is 1000 ms
        return f"{1000 * value:.3g} ms" if value else "0 s"
    if value < 120:
        return f"{value:.3g} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02} h"


def size(count: float | None) -> str:
    """Bytes in decimal units."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def moment(at_s: float | None) -> str:
    """Seconds since 1970 as date and time."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC" if at_s is not None else "–"
