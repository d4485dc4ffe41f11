"""Tells the letters of a line of text from their ground."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

GROUND_PX = 16  # height to which a line is scaled to estimate its ground
SEPARATE = 0.55  # share of the variance that two classes explain, below which letters are not told from the ground
FEWEST, MOST = 0.02, 0.6  # share of the line's area that letters cover
FAINTEST = 12.0  # difference of letters from their ground, levels of 255
OUTLINE = 0.5  # of the threshold, at which pixels that touch letters belong to them
BORDER_PX = 2  # around letters, for soft edges and noise of JPEG
BORDER = 1 / 40  # more, of the height of the line: outlines and shadows
BINS = 128
PARTS, MAX_EMPTY = 14, 1  # of a line along its length; the outer ones may hold nothing


def letters_in(rgb: np.ndarray, corners: Sequence[tuple[float, float]], height_px: float) -> np.ndarray | None:
    """Return the letters of a line with a border for outlines and shadows.

    Letters differ from their ground in one direction of colour. The ground is the median around each pixel, since
    strokes are thinner than half a line.

    Args:
        rgb: (H, W, 3) uint8, a photo's part around the line.
        corners: of the line in that part, x and y.
        height_px: of the line.

    Returns:
        (H, W) bool; ``None`` where letters cannot be told from the ground.
    """
    line = _polygon(rgb.shape[:2], corners)
    difference = rgb.astype(np.float32) - _ground(rgb, height_px)
    distance = np.sqrt((difference**2).mean(axis=2))
    first, _ = two_classes(distance[line])
    seeds = line & (distance > first)
    if not seeds.any():
        return None
    along = difference @ _direction(difference[seeds])
    threshold, separation = two_classes(along[line])
    letters = line & (along > threshold)
    covered = np.count_nonzero(letters) / np.count_nonzero(line)
    if separation < SEPARATE or threshold < FAINTEST / 2 or not FEWEST <= covered <= MOST:
        return None
    if not _fills_line(letters, line, corners):
        return None
    border = BORDER_PX + round(BORDER * height_px)
    beside = ndimage.maximum_filter(letters, size=2 * border + 1, mode="constant")
    strong = (along > OUTLINE * threshold) | (distance > max(first, threshold))
    whole = ndimage.binary_propagation(letters, mask=(letters | strong) & beside)
    bordered = ndimage.maximum_filter(whole, size=2 * BORDER_PX + 1, mode="constant")
    return bordered if np.count_nonzero(bordered) < np.count_nonzero(line) else None


def two_classes(values: np.ndarray) -> tuple[float, float]:
    """Split numbers in two classes as Otsu (1979) does.

    Returns:
        The threshold, and the share of the variance that lies between the classes, 0 … 1.
    """
    counts, edges = np.histogram(values, BINS)
    centres, share = (edges[:-1] + edges[1:]) / 2, counts / max(1, counts.sum())
    below, mean = share.cumsum(), (share * centres).cumsum()
    total = mean[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num((total * below - mean) ** 2 / (below * (1 - below)), nan=0.0, posinf=0.0)
    variance = float((share * (centres - total) ** 2).sum())
    best = np.flatnonzero(between[:-1] >= between[:-1].max() * (1 - 1e-9))  # several where bins between are empty
    threshold = float(edges[(best[0] + best[-1]) // 2 + 1])
    return threshold, float(between[best[0]]) / variance if variance else 0.0


def _fills_line(letters: np.ndarray, line: np.ndarray, corners: Sequence[tuple[float, float]]) -> bool:
    """Return whether letters are in all parts of a line but spaces: structure of the photo is in some."""
    (x, y), second, _, last = np.array(corners, float)
    end = max(second, last, key=lambda corner: float(np.hypot(*(corner - (x, y)))))
    along = end - (x, y)
    length = max(1.0, float(along @ along))

    def parts(mask: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(mask)
        share = ((columns - x) * along[0] + (rows - y) * along[1]) / length
        return np.histogram(share, PARTS, (0, 1))[0]

    written, all_of_it = parts(letters), parts(line)
    return int(np.count_nonzero(written[1:-1] > FEWEST * all_of_it[1:-1])) >= PARTS - 2 - MAX_EMPTY


def _polygon(shape: tuple[int, ...], corners: Sequence[tuple[float, float]]) -> np.ndarray:
    canvas = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).polygon(list(corners), fill=1, outline=1)
    return np.asarray(canvas)


def _direction(differences: np.ndarray) -> np.ndarray:
    """Return the unit vector, (3,), in which most of (N, 3) differences point."""
    _, vectors = np.linalg.eigh(differences.T @ differences)
    axis = vectors[:, -1]
    sides = differences @ axis
    sign = 1.0 if float((sides**2 * np.sign(sides)).sum()) >= 0 else -1.0
    return axis * np.float32(sign)


def _ground(rgb: np.ndarray, height_px: float) -> np.ndarray:
    """Return the median colour around each pixel, (H, W, 3) float32, computed at a small size."""
    factor = max(1.0, height_px / GROUND_PX)
    size = max(1, round(rgb.shape[1] / factor)), max(1, round(rgb.shape[0] / factor))
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    side = 2 * round(height_px / factor / 2) + 1
    medians = np.stack([ndimage.median_filter(band, size=side, mode="reflect") for band in np.moveaxis(small, 2, 0)])
    bands = [
        Image.fromarray(band.astype(np.float32)).resize((rgb.shape[1], rgb.shape[0]), Image.Resampling.BILINEAR)
        for band in medians
    ]
    return np.stack([np.asarray(band) for band in bands], axis=2)
