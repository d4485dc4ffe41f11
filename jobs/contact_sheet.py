"""``moebius contact-sheet SINK PICTURE``: draw some results, each as input, hole and output side by side."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from jobs.cli.arguments import add_picture, add_sink, check_writable
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.cli.sink import opened_sink
from jobs.pictures.sheet import NOTHING, save_sheet, strip, with_hole
from pipeline.codecs.decode import decode
from pipeline.database import Database
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.decode import read_mask
from pipeline.records import MANIFEST_SCHEMA, OK
from pipeline.report.figures import load_rows
from pipeline.report.inspector import NO_LIMIT
from pipeline.report.row_files import RowFiles, RowFilesReader
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, draw the results, and save the picture."""
    parser = new_parser("contact-sheet", "Draw the first results of a sink, each as input, hole (red) and output.")
    add_sink(parser)
    add_picture(parser)
    options = parser.parse_args(arguments)
    return run_command(lambda: _draw(options))


def _draw(options: argparse.Namespace) -> int:
    check_writable(options.picture)
    sink, access = opened_sink(options)
    rows = _first_results(sink, options.count)
    reader = RowFilesReader(sink, access, rows)
    strips = [_strip(row, reader.read(row)) for row in rows]
    save_sheet(strips, options.columns, options.picture)
    sys.stdout.write(f"contact sheet: {options.picture}\n")
    return DONE


@usable()
def _first_results(sink: Storage, count: int) -> list[dict[str, Any]]:
    """Return the rows of the first results in the order of their names.

    Raises:
        ConfigError: there are no results.
    """
    with Database() as database:
        load_rows(sink, database, MANIFEST_SCHEMA.names)
        query = f"SELECT * FROM rows WHERE status = '{OK}' ORDER BY sample_id LIMIT {count}"
        rows = [row for table in database.stream(query, count) for row in table.to_pylist()]
    if not rows:
        raise ConfigError(f"no result with status ok in {sink}")
    return rows


def _strip(row: Mapping[str, Any], files: RowFiles) -> Image.Image:
    """Draw the pictures of a row that can be read, and state why the others are missing."""
    before = hole = after = NOTHING
    notes = [files.missing] if files.missing else []
    try:
        if files.inputs is not None:
            photo = decode(files.inputs.image, NO_LIMIT)
            before = photo.rgb()
        if files.inputs is not None and files.mask is not None:
            hole = with_hole(before, read_mask(files.inputs.mask, photo, files.mask, NO_LIMIT))
        if files.result is not None:
            after = decode(files.result, NO_LIMIT).rgb()
    except SampleError as error:
        notes.append(error.message)
    untrained = " (untrained weights)" if (row["weights_fingerprint"] or "").startswith("untrained-") else ""
    windows = "1 window" if row["window_count"] == 1 else f"{row['window_count']} windows"
    label = f"{row['sample_id']}  {row['width']}x{row['height']}  {windows}{untrained}"
    return strip([before, hole, after], "  ".join([label, *notes]))


if __name__ == "__main__":
    sys.exit(main())
