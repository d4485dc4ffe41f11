"""Write text over photos, let a job find and fill it, and count what the verification still finds.

``python benchmarks/verified_text.py PHOTOS OUT --count 60 [key=value …]``; keys are those of a job's configuration.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from jobs.configuration.load import load_config  # noqa: E402 - see above
from pipeline.executor.local import LocalExecutor  # noqa: E402
from pipeline.run import run_job  # noqa: E402

SIDE_PX = 640
WORDS = ("SAMPLE PHOTO", "© Studio Nord 2024", "PREVIEW", "www.example.com", "Do not copy", "Urheber: A. Muster")
SETTINGS = ("mask.kind=text", "mask.dilate_px=4", "model.guidance=1", "model.sampler=dpm++", "model.steps=10")


def main() -> None:
    """Make the photos, run the job in this process, and print how many are clean after each try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("settings", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_intermixed_args()
    inputs = options.out / "photos"
    write_photos(options.photos, inputs, options.count)
    where = (f"source.uri={inputs}", f"sink.uri={options.out / 'clean'}", "verify.model=mask", "run.redo_changed=true")
    config = load_config(str(ROOT / "conf" / "inpaint.yaml"), [*where, *SETTINGS, *options.settings])
    started = time.monotonic()
    run_job(config, f"{time.time():.0f}", lambda rows, total: None, LocalExecutor())
    rows = ds.dataset(options.out / "clean" / "manifest", format="parquet").to_table().to_pylist()
    most = config.verify.max_residual
    verified = Counter(
        "left" if row["residual"] > most else f"clean at try {row['tries']}" for row in rows if row["tries"]
    )
    figures = {
        "photos": options.count,
        "status": Counter(row["status"] for row in rows),
        "verified": dict(sorted(verified.items())),
        "seconds": round(time.monotonic() - started, 1),
    }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def write_photos(photos: Path, folder: Path, count: int) -> None:
    """Write the first ``count`` photos of a folder with a line of text each, at a random place, size and opacity."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for number, path in enumerate(sorted(photos.glob("*.[jp][pn]g"))[:count]):
        photo = Image.open(path).convert("RGB")
        photo.thumbnail((SIDE_PX, SIDE_PX))
        size = int(generator.integers(18, 44))
        layer = Image.new("RGBA", photo.size)
        place = tuple(
            int(generator.integers(0, max(1, side - reach))) for side, reach in zip(photo.size, (280, 60), strict=True)
        )
        colour = (*map(int, generator.choice([[255, 255, 255], [20, 20, 20], [230, 60, 40]])), 255)
        alpha = int(generator.integers(120, 256))
        words = WORDS[number % len(WORDS)]
        ImageDraw.Draw(layer).text(place, words, font=ImageFont.load_default(size), fill=(*colour[:3], alpha))
        Image.alpha_composite(photo.convert("RGBA"), layer).convert("RGB").save(folder / f"{number:03}.png")


if __name__ == "__main__":
    main()
