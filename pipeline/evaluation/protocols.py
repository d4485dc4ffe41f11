"""Protocols of the paper: photos, sizes, holes, and published figures.

Source: arXiv 2606.19195, tables of Places2, CelebA-HQ and FFHQ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Protocol:
    """One data set of the paper.

    Args:
        photos: how many the paper takes.
        side_px: of the square that is cut from the middle of each and scaled.
        mask: kind of holes that we draw; ``None``: the paper takes masks that others published, which must be given.
        masks_of: whose they are.
        published: FID and LPIPS by model; ``None`` where the paper says nothing.
    """

    photos: int
    side_px: int
    mask: str | None
    masks_of: str
    published: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


MODELS = ("Moebius", "PixelHacker", "SD3.5-L inpaint", "FLUX.1-Fill-Dev")


def _published(*figures: tuple[float, float]) -> dict[str, tuple[float | None, float | None]]:
    return dict(zip(MODELS, figures, strict=True))


_PLACES2_SMALL = _published((0.92, 0.091), (0.82, 0.088), (3.02, 0.105), (0.94, 0.099))
_CELEBAHQ = _published((5.39, 0.122), (4.75, 0.115), (11.80, 0.134), (10.13, 0.141))
_FFHQ = _published((8.15, 0.231), (6.35, 0.229), (109.42, 0.402), (11.19, 0.268))

PROTOCOLS: dict[str, Protocol] = {
    "places2-test": Protocol(10_000, 512, "half", "", {"Moebius": (9.48, None)}),
    "places2-small": Protocol(36_500, 512, None, "MAT", _PLACES2_SMALL),
    "celebahq": Protocol(3_000, 512, None, "MAT", _CELEBAHQ),
    "ffhq": Protocol(10_000, 256, None, "LaMa", _FFHQ),
}
