"""``moebius preview CONFIG PICTURE [key=value …]``: draw what would be inpainted."""

import argparse
import sys
from collections.abc import Sequence

from PIL import Image

from jobs.cli.arguments import add_config, add_overrides, add_picture, check_writable
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.configuration.load import load_config
from jobs.pictures.sheet import NOTHING, save_sheet, strip, with_hole
from pipeline.config.job import JobConfig
from pipeline.sources.inputs import Inputs


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, select samples, draw them, and save the picture."""
    parser = new_parser(
        "preview",
        "Draw some samples, spread over the source, with their masks in red, for every kind of mask. No model runs.",
    )
    add_config(parser)
    add_picture(parser)
    add_overrides(parser, "mask.kind=text")
    options = parser.parse_intermixed_args(arguments)
    return run_command(lambda: _preview(options))


def _preview(options: argparse.Namespace) -> int:
    config = load_config(options.config, options.overrides)
    check_writable(options.picture)
    from pipeline.database import Database
    from pipeline.masks.base import tried
    from pipeline.planning.listing import find_samples
    from pipeline.records import SAMPLE_SCHEMA
    from pipeline.sources.reader import Reader

    config = tried(config)
    with Database() as database:
        find_samples(config, database)
        # By hash: spread over the source, and the same samples each time while a user tries settings.
        columns = ", ".join(SAMPLE_SCHEMA.names)
        query = f"SELECT {columns} FROM samples ORDER BY md5(sample_id) LIMIT {options.count}"
        samples = [row for table in database.stream(query, options.count) for row in table.to_pylist()]
    found = Reader(config).read_all(samples)
    strips = [_strip(sample["sample_id"], inputs, config) for sample, inputs in zip(samples, found, strict=True)]
    save_sheet(strips, options.columns, options.picture)
    sys.stdout.write(f"preview: {options.picture}\n")
    return DONE


def _strip(sample_id: str, inputs: Inputs | Exception, config: JobConfig) -> Image.Image:
    """Draw a sample and its mask; draw as much as can be read, with the reason, if the sample would fail."""
    from pipeline.codecs.decode import decode
    from pipeline.errors import SampleError
    from pipeline.masks.corrected import settings_of
    from pipeline.masks.decode import read_mask
    from pipeline.masks.sizes import may_be_upright
    from pipeline.report.formatting import percent

    rgb = NOTHING
    try:
        if isinstance(inputs, Exception):
            raise inputs
        photo = decode(inputs.image, config.limits.max_pixels)
        rgb = photo.rgb()
        mask = read_mask(inputs.mask, photo, settings_of(inputs, config.mask), config.limits.max_pixels)
    except (SampleError, OSError) as error:
        fault = SampleError.wrap("read", error)
        return strip([rgb, NOTHING], f"{sample_id}  would fail: {fault.kind}: {fault.message}")
    label = f"{sample_id}  {percent(float(mask.mean()))} of {mask.shape[1]}x{mask.shape[0]}"
    if may_be_upright(mask.shape, photo.orientation, config.mask):
        label += f"  EXIF orientation {photo.orientation}: drawn upright?"
    return strip([rgb, with_hole(rgb, mask)], label)


if __name__ == "__main__":
    sys.exit(main())
