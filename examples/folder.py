"""Repaint the photos of a folder under the masks of another, in this process: no Ray, no manifest.

    python examples/folder.py PHOTOS MASKS OUT [WEIGHTS]

A mask has its photo's stem and is white where to repaint; photos without one are named and left out. For more than
some hundred photos, or for results that have to keep formats and metadata, use ``moebius inpaint``.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from moebius import Inpainter

BATCH = 16  # photos in memory at once


def main(photos: str, masks: str, out: str, weights: str = "nano") -> None:
    """Read, repaint and write so many at a time."""
    inpainter = Inpainter.from_pretrained(weights)
    mask_of = {path.stem: path for path in Path(masks).iterdir()}
    paths = sorted(Path(photos).iterdir())
    pairs = [(path, mask_of[path.stem]) for path in paths if path.stem in mask_of]
    for path in paths:
        if path.stem not in mask_of:
            sys.stderr.write(f"no mask for {path}\n")
    Path(out).mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        images = [np.asarray(Image.open(path).convert("RGB")) for path, _ in batch]
        holes = [np.asarray(Image.open(mask).convert("L")) >= 128 for _, mask in batch]
        results = inpainter(images, holes, range(start, start + len(batch)), on_progress=tell)
        for (path, _), result in zip(batch, results, strict=True):
            Image.fromarray(result).save(Path(out) / f"{path.stem}.png")


def tell(done: int, windows: int) -> None:
    """One line that counts."""
    sys.stderr.write(f"\r{done} of {windows} windows" + ("\n" if done == windows else ""))


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: python examples/folder.py PHOTOS MASKS OUT [WEIGHTS]")
    main(*sys.argv[1:])
