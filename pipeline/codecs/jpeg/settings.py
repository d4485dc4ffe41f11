"""Reads how the components of a JPEG file are stored: tables, subsampling and colours."""

from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

_YCCK = 2  # Adobe's number of the transform
_RGB_IDS = [ord(letter) for letter in "RGB"]


def component_settings(image: JpegImagePlugin.JpegImageFile) -> dict[str, Any]:
    """Return what Pillow's encoder needs to store components as those of an opened file.

    Returns:
        ``qtables`` by component, where the header has them all; ``subsampling`` as Pillow numbers it, -1 for none;
        ``keep_rgb``: the components are red, green and blue; ``is_inverted``: see :func:`is_inverted`.
    """
    is_rgb = _is_rgb(image)
    # Subsamplings that Pillow cannot write (4:4:0, 4:1:1, subsampled RGB) become 4:4:4, which loses no colour.
    sampling = 0 if is_rgb else max(JpegImagePlugin.get_sampling(image), 0)
    settings: dict[str, Any] = {
        "subsampling": sampling if len(image.layer) == 3 else -1,
        "keep_rgb": is_rgb,
        "is_inverted": is_inverted(image),
    }
    tables = component_tables(image)
    return settings | ({"qtables": tables} if tables else {})


def samples_per_pixel(image: Image.Image) -> float:
    """Return how many values a JPEG stores per pixel: 3 for 4:4:4, 1.5 for 4:2:0; 0 for other formats."""
    samplings = [(h, v) for _, h, v, _ in getattr(image, "layer", ())]
    if not samplings:
        return 0
    h_max, v_max = (max(sizes) for sizes in zip(*samplings, strict=True))
    return sum(h * v for h, v in samplings) / max(h_max * v_max, 1)


def component_tables(image: JpegImagePlugin.JpegImageFile) -> list[list[int]]:
    """Return the quantisation table of each component in turn; equal ones at the end are given once, as Pillow does.

    Empty where a component's table is missing, which may legally follow further on in the file.
    """
    numbers = [number for _, _, _, number in image.layer]
    if not image.quantization.keys() >= set(numbers):
        return []
    tables = [list(image.quantization[number]) for number in numbers]
    if len(tables) == 4 and image.info.get("adobe_transform") == _YCCK:
        # Pillow writes CMYK instead: each ink holds luminance, and deserves its table.
        tables[:3] = [np.minimum(tables[0], tables[3]).tolist()] * 3
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    return tables


def is_inverted(image: Image.Image) -> bool:
    """Return whether the inks of a CMYK file are inverted: by convention, if Adobe's marker is present."""
    return "adobe_transform" in image.info


def _is_rgb(image: JpegImagePlugin.JpegImageFile) -> bool:
    """Return whether three components are red, green and blue, by the rule of libjpeg."""
    if len(image.layer) != 3 or "jfif" in image.info:
        return False
    if "adobe_transform" in image.info:
        return image.info["adobe_transform"] == 0
    return [identifier for identifier, _, _, _ in image.layer] == _RGB_IDS
