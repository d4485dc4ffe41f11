"""Formats values for people."""

import math
from datetime import UTC, datetime

_JOINERS = "\u200c\u200d"  # invisible, but part of names in many scripts and of most emoji


def shown(text: object) -> str:
    """Escape characters that are invisible or change the text direction."""
    return "".join(
        mark if mark.isprintable() or mark in _JOINERS else mark.encode("unicode_escape").decode() for mark in str(text)
    )


def shown_lines(text: str) -> str:
    """Escape like :func:`shown`, but keep tabs and the ends of lines."""
    return "\n".join("\t".join(map(shown, line.split("\t"))) for line in text.replace("\r\n", "\n").split("\n"))


def number(value: float | None, digits: int = 2) -> str:
    """Format a number as ``12,345`` or ``0.71``; a dash if it is unknown."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:,.{digits}f}"


def percent(part: float | None, whole: float = 1) -> str:
    """Format a share in percent; a positive share is never shown as 0 %, a partial one never as 100 %."""
    if part is None or not whole:
        return "–"
    share = 100 * part / whole
    return f"{share:.3g} %" if 0 < share < 1 else f"{min(share, 99.9):.1f} %" if share % 1 else f"{share:.0f} %"


def seconds(value: float | None) -> str:
    """Format a duration as ``24 ms``, ``3.1 s``, ``5 min`` or ``2:40 h``."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 0.9995:  # else it is 1000 ms
        return f"{1000 * value:.3g} ms" if value else "0 s"
    if value < 120:
        return f"{value:.3g} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02} h"


def size(count: float | None) -> str:
    """Format bytes in decimal units."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def moment(at_s: float | None) -> str:
    """Format seconds since 1970 as date and time."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC" if at_s is not None else "–"
