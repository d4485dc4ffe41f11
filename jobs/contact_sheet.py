"""``moebius contact-sheet SINK PICTURE``: before, mask and after of some results, side by side."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from jobs.arguments import check_writable, positive
from jobs.cli import DONE, EXIT_CODES, run_command
from jobs.sheet import NOTHING, picture_path, save_sheet, strip, with_hole
from jobs.sinks import add_sink_arguments, storage_options
from pipeline.codec import decode
from pipeline.config import absolute_uri
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.mask_pixels import read_mask
from pipeline.records import OK
from pipeline.report.evidence import Evidence, Files
from pipeline.review import NO_LIMIT
from pipeline.storage import Storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, draw, save."""
    parser = argparse.ArgumentParser(
        prog="moebius contact-sheet",
        description="Draw the first results of a sink, each as input, hole (red) and output.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sink_arguments(parser)
    parser.add_argument("picture", metavar="PICTURE", type=picture_path, help="file to write, .png or .jpg")
    parser.add_argument("--count", type=positive, default=12, help="results at most (12)")
    parser.add_argument("--columns", type=positive, default=2, help="results side by side (2)")
    options = parser.parse_args(arguments)
    return run_command(lambda: _draw(options))


def _draw(options: argparse.Namespace) -> int:
    check_writable(options.picture)
    access = storage_options(options)
    sink = Storage(absolute_uri(options.sink, "SINK"), access)
    rows = Manifest(sink).load().to_pylist()
    rows = sorted((row for row in rows if row["status"] == OK), key=lambda row: row["sample_id"])[: options.count]
    if not rows:
        raise ConfigError(f"no result with status ok in {options.sink}")
    evidence = Evidence(sink, access, rows, math.inf)
    strips = [_strip(row, evidence.read(row)) for row in rows]
    save_sheet(strips, options.columns, options.picture)
    sys.stdout.write(f"contact sheet: {options.picture}\n")
    return DONE


def _strip(row: Mapping[str, Any], files: Files) -> Image.Image:
    """A row's pictures; where one is gone, why."""
    if files.inputs is None or files.mask is None or files.result is None:
        return strip([NOTHING], f"{row['sample_id']}  {files.missing}")
    photo, result = decode(files.inputs.image, NO_LIMIT), decode(files.result, NO_LIMIT)
    before, after = photo.rgb(), result.rgb()
    mask = read_mask(files.inputs.mask, photo, files.mask, NO_LIMIT)
    untrained = " (untrained weights)" if row["weights_fingerprint"].startswith("untrained-") else ""
    windows = "1 window" if row["window_count"] == 1 else f"{row['window_count']} windows"
    label = f"{row['sample_id']}  {row['width']}x{row['height']}  {windows}{untrained}"
    return strip([before, with_hole(before, mask), after], label)


if __name__ == "__main__":
    sys.exit(main())
