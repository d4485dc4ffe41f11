"""``moebius preview CONFIG PICTURE [key=value …]``: what would be repainted, drawn before anything is."""

import argparse
import sys
from collections.abc import Sequence

from PIL import Image

from jobs.cli.arguments import check_writable, positive
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE, EXIT_CODES
from jobs.configuration.load import load_config
from jobs.pictures.sheet import NOTHING, picture_path, save_sheet, strip, with_hole
from pipeline.config.job import JobConfig
from pipeline.sources.inputs import Inputs


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, pick, draw, save."""
    parser = argparse.ArgumentParser(
        prog="moebius preview",
        description="Draw some samples of a source with their masks in red, for every kind of mask. No model runs.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file such as conf/inpaint.yaml, which lists every key")
    parser.add_argument("picture", metavar="PICTURE", type=picture_path, help="file to write, .png or .jpg")
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", default=[], help="override a key, e.g. mask.kind=text"
    )
    parser.add_argument("--count", type=positive, default=12, help="samples, spread over the source (12)")
    parser.add_argument("--columns", type=positive, default=2, help="samples side by side (2)")
    options = parser.parse_intermixed_args(arguments)
    return run_command(lambda: _preview(options))


def _preview(options: argparse.Namespace) -> int:
    config = load_config(options.config, options.overrides)
    check_writable(options.picture)
    from pipeline.database import Catalog
    from pipeline.planning.listing import find_samples
    from pipeline.records import SAMPLE_SCHEMA
    from pipeline.sources.reader import Reader

    with Catalog() as catalog:
        find_samples(config, catalog)
        # By hash: spread over the source, and the same ones again while a setting is tried out.
        columns = ", ".join(SAMPLE_SCHEMA.names)
        query = f"SELECT {columns} FROM samples ORDER BY md5(sample_id) LIMIT {options.count}"
        samples = [row for table in catalog.stream(query, options.count) for row in table.to_pylist()]
    found = Reader(config).read_all(samples)
    strips = [_strip(sample["sample_id"], inputs, config) for sample, inputs in zip(samples, found, strict=True)]
    save_sheet(strips, options.columns, options.picture)
    sys.stdout.write(f"preview: {options.picture}\n")
    return DONE


def _strip(sample_id: str, inputs: Inputs | Exception, config: JobConfig) -> Image.Image:
    """A sample and its mask; one that would fail is drawn with the reason, so far as it can be read at all."""
    from pipeline.codecs.decode import decode
    from pipeline.errors import SampleError
    from pipeline.masks.decode import read_mask
    from pipeline.masks.sizes import may_be_upright
    from pipeline.report.words import percent

    rgb = NOTHING
    try:
        if isinstance(inputs, Exception):
            raise inputs
        photo = decode(inputs.image, config.limits.max_pixels)
        rgb = photo.rgb()
        mask = read_mask(inputs.mask, photo, config.mask, config.limits.max_pixels)
    except (SampleError, OSError) as error:
        fault = SampleError.wrap("read", error)
        return strip([rgb, NOTHING], f"{sample_id}  would fail: {fault.kind}: {fault.message}")
    label = f"{sample_id}  {percent(float(mask.mean()))} of {mask.shape[1]}x{mask.shape[0]}"
    if may_be_upright(mask.shape, photo.orientation, config.mask):
        label += f"  EXIF orientation {photo.orientation}: drawn upright?"
    return strip([rgb, with_hole(rgb, mask)], label)


if __name__ == "__main__":
    sys.exit(main())
