"""Chooses the pairs of fills that people compare, and draws them."""

import base64
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from moebius.windows import Box
from pipeline.evaluation.case import Case
from pipeline.report.pictures import PICTURE_PX, data_uri, hole_picture, photo_picture

QUALITY = 92  # of WebP; a lower one hides seams


@dataclass(frozen=True)
class Pair:
    """Two fills of one hole.

    Args:
        photo: index of the photo.
        name: of its file.
        kind: of the mask.
        left, right: methods.
    """

    photo: int
    name: str
    kind: str
    left: str
    right: str

    def sealed(self) -> str:
        """Return what the pair is in a form that nobody reads by accident; see :func:`unseal`."""
        return base64.b64encode(json.dumps(asdict(self)).encode()).decode()


@dataclass(frozen=True)
class DrawnPair:
    """Pictures of a pair as data URIs, all of one size (width, height) in pixels."""

    sealed: str
    left: str
    right: str
    hole: str
    size: tuple[int, int]


def unseal(text: str) -> Pair:
    """Return the pair of :meth:`Pair.sealed`.

    Raises:
        ValueError: the text is none, or a field has another type.
    """
    try:
        pair = Pair(**json.loads(base64.b64decode(text, validate=True)))
    except TypeError as error:
        raise ValueError(f"no pair: {error}") from error
    for name, value in asdict(pair).items():
        expected = int if name == "photo" else str
        if type(value) is not expected:
            raise ValueError(f"no pair: {name} must be {expected.__name__}, got {type(value).__name__}")
    return pair


def choose_pairs(
    photos: Sequence[str], kinds: Sequence[str], methods: Sequence[str], count: int, seed: int
) -> list[Pair]:
    """Choose pairs at random, equally many of each two methods; sides and order are random, too.

    Args:
        photos: names of the files.
        kinds: of masks.
        methods: at least two.
        count: number of pairs, or as many as there are.
        seed: another one chooses others.
    """
    generator, of_methods = random.Random(f"pairs {seed}"), list(itertools.combinations(methods, 2))
    rounds = []
    for first, second in of_methods:
        holes = [(index, name, kind) for index, name in enumerate(photos) for kind in kinds]
        generator.shuffle(holes)
        rounds.append([Pair(*hole, *generator.sample((first, second), 2)) for hole in holes])
    chosen = [pair for every in zip(*rounds, strict=True) for pair in generator.sample(every, len(every))][:count]
    return generator.sample(chosen, len(chosen))


class PairDrawer:
    """Draws pairs while the cases with their fills come, in the order in which they were chosen.

    Args:
        pairs: from :func:`choose_pairs`.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs, self._drawn = pairs, dict[Pair, DrawnPair]()
        self._by_hole: dict[tuple[str, str], list[Pair]] = defaultdict(list)
        for pair in pairs:
            self._by_hole[pair.name, pair.kind].append(pair)

    @property
    def photos(self) -> set[int]:
        """Return the indices of the photos that pairs need."""
        return {pair.photo for pair in self._pairs}

    def add(self, case: Case) -> None:
        """Draw the pairs of a hole; those are left out for which a method has no fill."""
        for pair in self._by_hole[case.photo, case.mask_kind]:
            if pair.left in case.fills and pair.right in case.fills:
                self._drawn[pair] = _draw(case, pair)

    def drawn(self) -> list[DrawnPair]:
        """Return all pairs that are drawn."""
        return [self._drawn[pair] for pair in self._pairs if pair in self._drawn]


def _draw(case: Case, pair: Pair) -> DrawnPair:
    cut = busiest_part(case.mask).slices
    hole = np.ascontiguousarray(case.mask[cut])
    size = hole.shape[1], hole.shape[0]
    left, right = (
        data_uri(photo_picture(case.fills[method][cut], size), quality=QUALITY) for method in (pair.left, pair.right)
    )
    return DrawnPair(pair.sealed(), left, right, data_uri(hole_picture(hole, size), lossless=True), size)


def busiest_part(mask: np.ndarray) -> Box:
    """Return the part of a photo, ``PICTURE_PX`` a side at most, with most hole; of equal ones that around its middle.

    The part is shown as it is: scaled down, fills of thin holes could not be told apart.

    Args:
        mask: (H, W) bool, not empty.
    """
    height, width = (min(side, PICTURE_PX) for side in mask.shape)
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    counts = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    best = np.argwhere(counts == counts.max())
    middle = np.argwhere(mask).mean(axis=0) - (height / 2, width / 2)
    top, left = best[np.abs(best - middle).sum(axis=1).argmin()].tolist()
    return Box(top, left, top + height, left + width)
