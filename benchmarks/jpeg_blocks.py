"""Measure changes that a filled hole makes in JPEG files: coefficients kept, and photos encoded as a whole.

    python benchmarks/jpeg_blocks.py FOLDER [COUNT]

Each photo gets a box of a quarter of its sides and a stroke across it, filled with a blurred copy of the photo. Prints
medians over the photos; every file must keep all coefficients of blocks without a filled pixel.
"""

import io
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode, encode_filled
from pipeline.codecs.jpeg.coefficients import read_coefficients
from pipeline.errors import SampleError

MAX_PIXELS = 10**8


def hole(height: int, width: int) -> np.ndarray:
    """Return a box and a stroke, (H, W) bool."""
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height // 3 + height // 4, width // 2 : width // 2 + width // 4] = True
    for column in range(width // 8, width - width // 8):
        top = height // 8 + column * height // (8 * width)
        mask[top : top + max(height // 100, 2), column] = True
    return mask


def kept_outside(before: bytes, after: bytes, mask: np.ndarray) -> tuple[int, int]:
    """Count the coefficients outside touched blocks that differ, and the blocks that differ."""
    outside, blocks = 0, 0
    pairs = zip(read_coefficients(before).components, read_coefficients(after).components, strict=True)
    for old, new in pairs:
        differing = old.plane.blocks != new.plane.blocks
        rows, columns = np.nonzero(mask)
        touched = np.zeros(differing.shape[:2], bool)
        touched[rows // (8 * old.step_y), columns // (8 * old.step_x)] = True
        outside += int(differing[~touched].sum())
        blocks += int(differing.any(axis=2).sum())
    return outside, blocks


def measure(data: bytes) -> dict[str, float] | None:
    """Return the figures of one photo; ``None`` where it is no JPEG that is kept."""
    photo = decode(data, MAX_PIXELS)
    mask = hole(*photo.pixels.shape[:2])
    blurred = np.asarray(Image.fromarray(photo.pixels).filter(ImageFilter.GaussianBlur(12)))
    pixels = photo.pixels.copy()
    pixels[mask] = blurred[mask]
    started = time.process_time()
    whole = encode(photo, pixels, "source")[0]
    whole_s, started = time.process_time() - started, time.process_time()
    kept, _, blocks_changed = encode_filled(photo, pixels, "source", data, mask)
    kept_s = time.process_time() - started
    if blocks_changed is None:
        return None
    outside, blocks = kept_outside(data, kept, mask)
    assert blocks == blocks_changed
    result: dict[str, float] = {"coefficients": outside, "size": len(kept) / len(whole), "time": kept_s / whole_s}
    result |= {"input_bytes": len(data), "kept_bytes": len(kept), "whole_bytes": len(whole)}
    result |= {"whole_cpu_s": whole_s, "kept_cpu_s": kept_s, "megapixels": mask.size / 1e6}
    for name, file in (("kept", kept), ("whole", whole)):
        seen = np.asarray(Image.open(io.BytesIO(file)))
        differing = (seen != photo.pixels).reshape(*mask.shape, -1).any(axis=2)
        result[f"outside_{name}"] = float(differing[~mask].mean())
        result[f"error_{name}"] = float(np.abs(seen[mask].astype(int) - pixels[mask]).mean())
    return result


def main() -> None:
    """Measure a folder."""
    files = sorted(path for path in Path(sys.argv[1]).iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    rows, left_out = [], []
    for path in files[:: max(len(files) // int(sys.argv[2]), 1)] if len(sys.argv) > 2 else files:
        try:
            row = measure(path.read_bytes())
        except SampleError as error:
            left_out.append(f"{path.name}: {error}")
            continue
        if row is None:
            left_out.append(f"{path.name}: encoded as a whole")
        else:
            rows.append(row)
    sys.stdout.write(f"{len(rows)} photos, left out: {left_out}\n")
    for name in rows[0]:
        values = [row[name] for row in rows]
        figures = min(values), statistics.median(values), statistics.fmean(values), max(values)
        sys.stdout.write(
            f"{name:20} min {figures[0]:.4g} median {figures[1]:.4g} mean {figures[2]:.6g} max {figures[3]:.4g}\n"
        )


if __name__ == "__main__":
    main()
