"""How a detector's model takes photos: the keys of ``mask.input``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError

Rgb = tuple[float, float, float]
MAX_SIDE_PX = 8192
FITS, ORDERS = ("letterbox", "stretch"), ("rgb", "bgr")
# Mean and standard deviation of channels whose full scale is 1.
VALUES: dict[str, tuple[Rgb, Rgb]] = {
    "unit": ((0.0,) * 3, (1.0,) * 3),
    "byte": ((0.0,) * 3, (1 / 255,) * 3),
    "signed": ((0.5,) * 3, (0.5,) * 3),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class ModelInput:
    """How a model takes photos.

    Args:
        size: width and height in pixels; ``None``: those of the model.
        fit: ``letterbox`` (scaled as a whole, with a grey border) or ``stretch``; ``None``: as usual for its outputs.
        mean, std: the model gets (value - mean) / std of red, green and blue, whose full scale is 1; ``None``: 0 … 1,
            or 0 … 255 if it takes bytes.
        order: ``rgb`` or ``bgr``.
    """

    size: tuple[int, int] | None = None
    fit: str | None = None
    mean: Rgb | None = None
    std: Rgb | None = None
    order: str = "rgb"

    @classmethod
    def parse(cls, keys: Mapping[str, Any]) -> "ModelInput":
        """Parse the keys ``size``, ``fit``, ``values``, ``mean``, ``std`` and ``order``.

        Raises:
            ConfigError: an unknown key, or a value that it does not take.
        """
        known = ("size", "fit", "values", "mean", "std", "order")
        if unknown := [key for key in keys if key not in known]:
            raise ConfigError(f"mask.input has no key {unknown[0]!r}, only {', '.join(known)}")
        for key, choices in (("fit", FITS), ("order", ORDERS), ("values", VALUES)):
            if keys.get(key) is not None and keys[key] not in choices:
                raise ConfigError(f"mask.input.{key} must be one of {', '.join(choices)}, got {keys[key]!r}")
        if ("mean" in keys) != ("std" in keys) or ("mean" in keys and "values" in keys):
            raise ConfigError("mask.input takes either values, or both mean and std")
        named = VALUES.get(keys.get("values") or "")
        mean, std = named or (_three("mean", keys), _three("std", keys))
        if std and min(std) <= 0:
            raise ConfigError(f"mask.input.std must be positive, got {keys['std']}")
        return cls(_size(keys.get("size")), keys.get("fit"), mean, std, keys.get("order") or "rgb")


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= MAX_SIDE_PX for side in sides):
        raise ConfigError(f"mask.input.size must be pixels, or [width, height], up to {MAX_SIDE_PX}, got {value!r}")
    return sides[0], sides[1]


def _three(key: str, keys: Mapping[str, Any]) -> Rgb | None:
    if key not in keys:
        return None
    given = keys[key]
    numbers = list(given) if isinstance(given, list | tuple) else [given] * 3
    if len(numbers) != 3 or not all(isinstance(number, int | float) for number in numbers):
        raise ConfigError(f"mask.input.{key} must be a number, or three of red, green and blue, got {given!r}")
    red, green, blue = map(float, numbers)
    return red, green, blue
