"""``moebius contact-sheet SINK PICTURE``: before, mask and after of some results, side by side."""

import argparse
import sys
from collections.abc import Sequence

from PIL import Image

from jobs.cli import DONE, run_command
from jobs.sheet import picture_path, save_sheet, strip, with_hole
from jobs.sinks import add_sink_arguments, storage_options
from pipeline.codec import decode
from pipeline.config import absolute_uri
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.mask_pixels import read_mask
from pipeline.records import OK
from pipeline.results import read_result
from pipeline.review import NO_LIMIT, Inspector, config_of_run
from pipeline.storage import Storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, draw, save."""
    parser = argparse.ArgumentParser(
        prog="moebius contact-sheet",
        description="Draw a row for each of the first results of a sink: input, hole (red), output.",
    )
    add_sink_arguments(parser)
    parser.add_argument("picture", metavar="PICTURE", type=picture_path, help="file to write, .png or .jpg")
    parser.add_argument("--count", type=int, default=12, help="rows at most (12)")
    parser.add_argument("--columns", type=int, default=2, help="results side by side (2)")
    options = parser.parse_args(arguments)
    return run_command(lambda: _draw(options))


def _draw(options: argparse.Namespace) -> int:
    access = storage_options(options)
    sink = Storage(absolute_uri(options.sink, "SINK"), access)
    rows = Manifest(sink).load().to_pylist()
    rows = sorted((row for row in rows if row["status"] == OK), key=lambda row: row["sample_id"])[: options.count]
    if not rows:
        raise ConfigError(f"no result with status ok in {options.sink}")
    names = {row["sample_id"] for row in rows}
    runs = {run_id: Inspector(config_of_run(sink, run_id, access), names) for run_id in {row["run_id"] for row in rows}}
    strips = [_strip(row, runs[row["run_id"]], access) for row in rows]
    save_sheet(strips, options.columns, options.picture)
    sys.stdout.write(f"contact sheet: {options.picture}\n")
    return DONE


def _strip(row: dict, run: Inspector, access: dict[str, str]) -> Image.Image:
    inputs = run.inputs(row)
    photo, result = decode(inputs.image, NO_LIMIT), decode(read_result(row, access), NO_LIMIT)
    before, after = photo.rgb(), result.rgb()
    mask = read_mask(inputs.mask, photo, run.config.mask, NO_LIMIT)
    untrained = " (untrained weights)" if row["weights_fingerprint"].startswith("untrained-") else ""
    label = f"{row['sample_id']}  {row['width']}x{row['height']}  {row['window_count']} windows{untrained}"
    return strip([before, with_hole(before, mask), after], label)


if __name__ == "__main__":
    sys.exit(main())
