"""Put a logo over photos, remove it in several ways, and compare with the photos before it.

``python benchmarks/known_mark.py PHOTOS OUT --count 20``; prints the PSNR over the logo's pixels, and writes a sheet.
"""

import argparse
import io
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).parent.parent))

from moebius import Inpainter, InpaintSettings
from pipeline.codecs.decode import decode
from pipeline.config.mask import MaskConfig
from pipeline.evaluation.baselines import navier_stokes, telea
from pipeline.masks.decode import draw_mask

SIDE_PX, MARGIN_PX, NO_LIMIT = 640, 20, 10**9
OPACITIES, QUALITIES = (0.3, 0.5, 0.7, 0.9), (95, 85, 75)
SHEET = (0.5, 85)  # of the pictures to look at
SETTINGS = InpaintSettings(sampler="dpm++", steps=10, guidance=1.0)
MASK = MaskConfig(kind="mark", anchor="bottom-right", offset=[MARGIN_PX, MARGIN_PX])


def main() -> None:
    """Measure all methods, print their means, and write ``sheet.png``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = Inpainter.from_pretrained("nano", settings=SETTINGS)
    found: dict[tuple[float, int, str], list[float]] = defaultdict(list)
    sheet = []
    paths = sorted(options.photos.glob("*.jp*g"))
    for path in paths[:: max(1, len(paths) // options.count)][: options.count]:
        truth = Image.open(path).convert("RGB")
        truth.thumbnail((SIDE_PX, SIDE_PX))
        for opacity, quality, hole, results in methods(truth, model):
            for name, pixels in results.items():
                found[opacity, quality, name].append(psnr(pixels, np.asarray(truth), hole))
            if (opacity, quality) == SHEET:
                sheet.append(strip([np.asarray(truth), *results.values()], hole))
    names = list(dict.fromkeys(name for _, _, name in found))
    sys.stdout.write(f"opacity quality {' '.join(f'{name:>13}' for name in names)}\n")
    for opacity in OPACITIES:
        for quality in QUALITIES:
            means = (f"{np.mean(found[opacity, quality, name]):13.2f}" for name in names)
            sys.stdout.write(f"{opacity:7} {quality:7} {' '.join(means)}\n")
    width = max(each.shape[1] for each in sheet)
    padded = [np.pad(each, ((0, 4), (0, width - each.shape[1]), (0, 0))) for each in sheet]
    Image.fromarray(np.vstack(padded)).save(options.out / "sheet.png")


def methods(truth: Image.Image, model: Inpainter) -> Iterator[tuple[float, int, np.ndarray, dict[str, np.ndarray]]]:
    """Yield opacity, quality, the logo's pixels, and the marked photo with what each method makes of it.

    Fills do not see what is under the logo, so each is made once for all opacities.
    """
    for quality in QUALITIES:
        fills: dict[str, np.ndarray] = {}
        for opacity in OPACITIES:
            mark = logo(opacity)
            layer = Image.new("RGBA", truth.size)
            layer.paste(mark, (truth.width - mark.width - MARGIN_PX, truth.height - mark.height - MARGIN_PX))
            file, mark_file = io.BytesIO(), io.BytesIO()
            Image.alpha_composite(truth.convert("RGBA"), layer).convert("RGB").save(file, "JPEG", quality=quality)
            mark.save(mark_file, "PNG")
            photo = decode(file.getvalue(), NO_LIMIT)
            colours, alpha = np.asarray(layer, float)[..., :3], np.asarray(layer, float)[..., 3:] / 255
            hole = alpha[..., 0] > 0
            if not fills:
                fills = {"telea": telea(photo.pixels, hole), "navier-stokes": navier_stokes(photo.pixels, hole)}
                fills["nano"] = model([photo.pixels], [hole], [0])[0]
            plain = np.clip(np.rint((photo.pixels - alpha * colours) / (1 - alpha)), 0, 255).astype(np.uint8)
            drawn = draw_mask(mark_file.getvalue(), photo, MASK, NO_LIMIT)
            ours = photo.pixels if drawn.restored is None else drawn.restored
            if drawn.pixels.any():
                ours = model([ours], [drawn.pixels], [0])[0]
            yield opacity, quality, hole, {"marked": photo.pixels, **fills, "formula": plain, "mark": ours}


def logo(opacity: float) -> Image.Image:
    """Draw a badge of three colours with text and soft edges."""
    large = Image.new("RGBA", (800, 360), (255, 255, 255, 0))
    draw, alpha = ImageDraw.Draw(large), round(255 * opacity)
    draw.rounded_rectangle((16, 16, 783, 343), 72, fill=(255, 255, 255, alpha))
    draw.ellipse((56, 56, 296, 296), fill=(30, 110, 200, alpha))
    draw.text((336, 110), "STUDIO", font=ImageFont.load_default(110), fill=(20, 20, 20, alpha))
    return large.resize((200, 90), Image.Resampling.LANCZOS)


def psnr(pixels: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in the hole, in dB."""
    error = ((pixels[hole].astype(float) - truth[hole]) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def strip(pictures: list[np.ndarray], hole: np.ndarray) -> np.ndarray:
    """Cut the surroundings of the hole out of pictures and put them side by side."""
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    part = slice(rows[0] - 10, rows[-1] + 10), slice(columns[0] - 10, columns[-1] + 10)
    return np.hstack([picture[part] for picture in pictures])


if __name__ == "__main__":
    main()
