"""Checks the keys of ``mask`` that say where a mark lies."""

from typing import Any

from pipeline.errors import ConfigError

MAX_SHIFT_PX = 64
MAX_SCALE = 0.25
FIND_KEYS = ("shift_px", "scale")


def check_mark(offset: Any, size: Any, repeat: Any, find: Any, max_opacity: Any) -> None:
    """Refuse values that place no mark, see :class:`pipeline.config.mask.MaskConfig`.

    Raises:
        ConfigError: naming the key.
    """
    if not _are_pixels(offset):
        raise ConfigError(f"mask.offset must be [x, y] in whole pixels, got {offset}")
    if size is not None and not (_is_number(size) and 0 < size <= 1):
        raise ConfigError(f"mask.size must be a share of the image's width above 0 and at most 1, got {size}")
    if repeat not in (None, False, True) and not (_are_pixels(repeat) and min(repeat) > 0):
        raise ConfigError(f"mask.repeat must be true, null, or [x, y] in whole pixels above 0, got {repeat}")
    if max_opacity != "auto" and not (_is_number(max_opacity) and 0 <= max_opacity <= 1):
        raise ConfigError(f"mask.max_opacity must be auto or in 0 … 1, got {max_opacity}")
    _check_find(find)


def _check_find(find: dict[str, Any]) -> None:
    if unknown := [key for key in find if key not in FIND_KEYS]:
        raise ConfigError(f"mask.find has no key {unknown[0]!r}, only {', '.join(FIND_KEYS)}")
    shift, scale = find.get("shift_px", 0), find.get("scale", 0)
    if not (_are_pixels([shift, 0]) and 0 <= shift <= MAX_SHIFT_PX):
        raise ConfigError(f"mask.find.shift_px must be whole pixels in 0 … {MAX_SHIFT_PX}, got {shift}")
    if not (_is_number(scale) and 0 <= scale <= MAX_SCALE):
        raise ConfigError(f"mask.find.scale must be in 0 … {MAX_SCALE}, got {scale}")


def _are_pixels(value: Any) -> bool:
    """Return whether a value is two whole numbers."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(number, int) and not isinstance(number, bool) for number in value)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
