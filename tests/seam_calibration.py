"""``python -m tests.seam_calibration``: how well ``seam_score`` tells broken fills from good ones, with known truth.

Holes are made where the photos of the repository are untouched, so that the pixels under them are the best fill.
"""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pipeline.worker.seam import FLAT, SATURATED, look_at_border
from tests.conftest import ROOT

PHOTOS = ROOT / "tests" / "photos"
SHAPES = ("rectangle", "ellipse", "strokes")
AROUND_PX = 60


@dataclass(frozen=True)
class Scores:
    """By kind of fill, one score a hole; and how many fills of each kind were suspicious in which way."""

    good: dict[str, list[float]]
    broken: dict[str, list[float]]
    suspicious: Counter[tuple[str, str | None]]

    def auc(self, kind: str | None = None) -> float:
        """Chance that a broken fill, of one kind or of any, scores higher than a good one."""
        good = np.concatenate(list(self.good.values()))
        broken = np.array(self.broken[kind]) if kind else np.concatenate(list(self.broken.values()))
        return float((broken[:, None] > good).mean() + (broken[:, None] == good).mean() / 2)


def calibrate() -> Scores:
    """Scores of every kind of fill in every hole."""
    scores = Scores({}, {}, Counter())
    generator = np.random.default_rng(0)
    for photo, elsewhere, mask in _holes(generator):
        for scored, fills in (
            (scores.good, good_fills(photo, mask)),
            (scores.broken, broken_fills(photo, elsewhere, mask, generator)),
        ):
            for kind, fill in fills.items():
                filled = photo.copy()
                filled[mask] = np.clip(fill, 0, 255).astype(np.uint8)[mask]
                border = look_at_border(filled, mask)
                assert border.seam_score is not None
                scored.setdefault(kind, []).append(border.seam_score)
                scores.suspicious[kind, border.suspicious] += 1
    return scores


def good_fills(photo: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """What nobody would object to: the original, stored once more, or slightly smoothed inside."""
    inside = np.clip(_blurred(mask.astype(np.uint8) * 255, 3).astype(float) / 127 - 1, 0, 1)[..., None]
    return {
        "original": photo,
        "JPEG of quality 75": _as_jpeg(photo, 75),
        "smoothed, blended": inside * _blurred(photo, 1) + (1 - inside) * photo,
    }


def broken_fills(
    photo: np.ndarray, elsewhere: np.ndarray, mask: np.ndarray, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """What a person would see at once."""
    around = (_blurred(mask.astype(np.uint8) * 255, 3) > 20) & ~mask
    rim = (_blurred(mask.astype(np.uint8) * 255, 1.2) < 250)[..., None]
    values = photo.astype(float)
    return {
        "mean colour": np.broadcast_to(photo[around].mean(axis=0), photo.shape),
        "black": np.zeros_like(photo),
        "shifted copy": np.roll(photo, (40, 25), (0, 1)),
        "another place": elsewhere,
        "noise": values + generator.normal(0, 40, values.shape),
        "too bright": values + 25,
        "wrong tint": values + np.array([20, 0, -20]),
        "hard edge": values - 60 * rim,
        "blurred": _blurred(photo, 8),
    }


def _holes(generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Parts of photos, parts of the same size from elsewhere in them, and holes where no watermark is."""
    for path in sorted((PHOTOS / "images").iterdir()):
        photo = np.asarray(Image.open(path).convert("RGB"))
        marked = np.asarray(Image.open(PHOTOS / "masks" / f"{path.stem}.png").convert("L")) > 0
        for shape in SHAPES:
            radius, top, left = _free_place(marked, generator)
            rows, columns = slice(top, top + 2 * (radius + AROUND_PX)), slice(left, left + 2 * (radius + AROUND_PX))
            part = photo[rows, columns]
            far = np.roll(photo, (photo.shape[0] // 2, photo.shape[1] // 2), (0, 1))[rows, columns]
            yield part.copy(), far, _draw(shape, part.shape[1], part.shape[0], radius)


def _free_place(marked: np.ndarray, generator: np.random.Generator) -> tuple[int, int, int]:
    while True:
        radius = int(generator.integers(18, 50))
        side = 2 * (radius + AROUND_PX)
        top, left = (int(generator.integers(0, length - side)) for length in marked.shape)
        near = slice(AROUND_PX - 12, side - AROUND_PX + 12)
        if not marked[top : top + side, left : left + side][near, near].any():
            return radius, top, left


def _draw(shape: str, width: int, height: int, radius: int) -> np.ndarray:
    picture = Image.new("1", (width, height))
    draw = ImageDraw.Draw(picture)
    box = (width // 2 - radius, height // 2 - radius, width // 2 + radius, height // 2 + radius)
    if shape == "strokes":  # as of letters
        for y in range(box[1], box[3], 14):
            draw.line((box[0], y, box[2], y + 6), fill=1, width=6)
    else:
        (draw.ellipse if shape == "ellipse" else draw.rectangle)(box, fill=1)
    return np.asarray(picture)


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(Image.fromarray(values).filter(ImageFilter.GaussianBlur(sigma)))


def _as_jpeg(photo: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def main() -> None:
    scores = calibrate()
    print(f"{'fill':<22}{'5 %':>8}{'median':>8}{'95 %':>8}{'AUC':>8}{FLAT:>6}{SATURATED:>11}")  # noqa: T201 - this script talks to a person
    for kinds, is_broken in ((scores.good, False), (scores.broken, True)):
        for kind, values in kinds.items():
            low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
            auc = f"{scores.auc(kind):8.3f}" if is_broken else ""
            marked = f"{scores.suspicious[kind, FLAT]:6}{scores.suspicious[kind, SATURATED]:11}"
            print(f"{kind:<22}{low:8.1f}{middle:8.1f}{high:8.1f}{auc:8}{marked}")  # noqa: T201 - as above
    good, broken = (np.concatenate(list(kinds.values())) for kinds in (scores.good, scores.broken))
    print(f"{good.size} good, {broken.size} broken, AUC {scores.auc():.3f}")  # noqa: T201 - as above
    for limit in (1, 2, 3, 5):
        print(f"above {limit}: {(good > limit).mean():.1%} good, {(broken > limit).mean():.1%} broken")  # noqa: T201


if __name__ == "__main__":
    main()
