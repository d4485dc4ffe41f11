"""``moebius contact-sheet SINK PICTURE``: before, mask and after of some results, side by side."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from jobs.cli import DONE, run_command
from pipeline.codec import decode
from pipeline.config import absolute_uri
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.mask_pixels import read_mask
from pipeline.records import OK
from pipeline.results import read_result
from pipeline.review import NO_LIMIT, Inspector, config_of_run
from pipeline.storage import Storage

CELL_PX, LABEL_PX, GAP_PX = 360, 18, 6
HOLE_COLOUR = (220, 30, 40)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, draw, save."""
    parser = argparse.ArgumentParser(
        prog="moebius contact-sheet",
        description="Draw a row for each of the first results of a sink: input, hole (red), output.",
    )
    parser.add_argument("sink", metavar="SINK", help="sink.uri of a finished or running job")
    parser.add_argument("picture", metavar="PICTURE", type=Path, help="file to write, .png or .jpg")
    parser.add_argument("--count", type=int, default=12, help="rows at most (12)")
    parser.add_argument("--columns", type=int, default=2, help="results side by side (2)")
    parser.add_argument(
        "--storage", metavar="key=value", nargs="+", default=[], help="fsspec options, e.g. endpoint_url=http://…"
    )
    options = parser.parse_args(arguments)
    return run_command(lambda: _draw(options))


def _draw(options: argparse.Namespace) -> int:
    access = dict(option.split("=", 1) for option in options.storage if "=" in option)
    sink = Storage(absolute_uri(options.sink), access)
    rows = Manifest(sink).load().to_pylist()
    rows = sorted((row for row in rows if row["status"] == OK), key=lambda row: row["sample_id"])[: options.count]
    if not rows:
        raise ConfigError(f"no result with status ok in {options.sink}")
    runs = {run_id: Inspector(config_of_run(sink, run_id, access)) for run_id in {row["run_id"] for row in rows}}
    strips = [_strip(row, runs[row["run_id"]], access) for row in rows]
    width = max(strip.width for strip in strips) + GAP_PX
    height = max(strip.height for strip in strips) + GAP_PX
    lines = -(-len(strips) // options.columns)
    sheet = Image.new("RGB", (width * min(options.columns, len(strips)), height * lines), "white")
    for index, strip in enumerate(strips):
        sheet.paste(strip, (index % options.columns * width, index // options.columns * height))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.picture)
    sys.stdout.write(f"contact sheet: {options.picture}\n")
    return DONE


def _strip(row: dict, run: Inspector, access: dict[str, str]) -> Image.Image:
    inputs = run.inputs(row)
    photo, result = decode(inputs.image, NO_LIMIT), decode(read_result(row, access), NO_LIMIT)
    before, after = photo.rgb(), result.rgb()
    mask = read_mask(inputs.mask, photo, run.config.mask, NO_LIMIT)
    hole = before.copy()
    hole[mask] = HOLE_COLOUR
    pictures = [Image.fromarray(pixels) for pixels in (before, hole, after)]
    for picture in pictures:
        picture.thumbnail((CELL_PX, CELL_PX))
    strip = Image.new("RGB", (sum(picture.width + GAP_PX for picture in pictures), pictures[0].height + LABEL_PX))
    strip.paste("white", (0, 0, *strip.size))
    for index, picture in enumerate(pictures):
        strip.paste(picture, (index * (picture.width + GAP_PX), LABEL_PX))
    untrained = " (untrained weights)" if row["weights_fingerprint"].startswith("untrained-") else ""
    label = f"{row['sample_id']}  {row['width']}x{row['height']}  {row['window_count']} windows{untrained}"
    ImageDraw.Draw(strip).text((2, 3), label, fill="black")
    return strip


if __name__ == "__main__":
    sys.exit(main())
