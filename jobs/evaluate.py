"""``moebius evaluate PHOTOS``: fills of models and of classical methods against the truth."""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from jobs.arguments import check_writable, positive
from jobs.cli import DONE, EXIT_CODES, run_command
from jobs.sheet import picture_path, save_sheet, strip, with_hole
from moebius.settings import InpaintSettings
from pipeline.config.job import MaskConfig, ModelConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.baselines import BASELINES
from pipeline.evaluation.masks import MASKS
from pipeline.evaluation.protocols import PROTOCOLS, Protocol

if TYPE_CHECKING:
    from pipeline.evaluation.examiner import Measured
    from pipeline.evaluation.run import Case

MEGAPIXEL = 1_000_000
PROGRESS_EVERY_S = 10.0
KINDS = ["text", "strokes", "objects"]
COLUMNS = {
    "psnr_db": "{:.2f}",
    "ssim": "{:.3f}",
    "texture": "{:.3f}",
    "lpips": "{:.3f}",
    "fid": "{:.2f}",
    "seconds": "{:.2f}",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, write."""
    defaults, mask = InpaintSettings(), MaskConfig()
    parser = argparse.ArgumentParser(
        prog="moebius evaluate",
        description="Blank seeded holes in photos, fill them, and measure PSNR, SSIM and texture distance inside them.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", metavar="PHOTOS", type=Path, help="folder of JPEG, PNG or WebP files")
    parser.add_argument("--weights", nargs="*", default=["nano"], help="models, as model.weights takes them (nano)")
    parser.add_argument(
        "--masks",
        nargs="+",
        default=KINDS,
        choices=MASKS,
        help=f"kinds of holes, of {', '.join(MASKS)} ({' '.join(KINDS)})",
    )
    parser.add_argument(
        "--baselines", nargs="*", default=list(BASELINES), choices=BASELINES, help="fills without a model (all)"
    )
    parser.add_argument("--limit", type=positive, help="photos at most, spread over the folder (all)")
    parser.add_argument(
        "--max-pixels", type=positive, default=MEGAPIXEL, help="larger photos are scaled down (1000000)"
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="a data set of the paper, whose sizes and holes replace --masks and --max-pixels; "
        "see docs/how-to/evaluation.md",
    )
    parser.add_argument(
        "--mask-files", metavar="FOLDER", type=Path, help="masks instead of drawn ones, of a protocol too; white = hole"
    )
    parser.add_argument("--mask-threshold", type=float, default=mask.threshold, help="as mask.threshold of a job (0.5)")
    parser.add_argument(
        "--mask-channel", default=mask.channel, help="as mask.channel of a job: colour or alpha (colour)"
    )
    parser.add_argument("--workers", type=int, default=0, help="of Ray, at RAY_ADDRESS or here; 0: without Ray (0)")
    parser.add_argument("--seed", type=int, default=0, help="of holes and models (0)")
    parser.add_argument("--steps", type=int, default=defaults.steps, help=f"of the models ({defaults.steps})")
    parser.add_argument("--guidance", type=float, default=defaults.guidance, help=f"likewise ({defaults.guidance})")
    parser.add_argument("--strength", type=float, default=defaults.strength, help=f"likewise ({defaults.strength})")
    parser.add_argument(
        "--hub", metavar="FOLDER", type=Path, help="of torch.hub: adds LPIPS and FID, see docs/how-to/evaluation.md"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write means and the figures of each photo")
    parser.add_argument(
        "--sheet", metavar="FILE", type=picture_path, help="write a .png or .jpg: photo, hole, every fill"
    )
    parser.add_argument("--sheet-rows", type=positive, default=12, help="at most (12)")
    options = parser.parse_intermixed_args(arguments)
    return run_command(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> int:
    settings = _settings(options)
    for name in ("photos", "mask_files", "hub"):  # workers run in folders of their own
        if path := getattr(options, name):
            setattr(options, name, path.absolute())
    protocol = PROTOCOLS[options.protocol] if options.protocol else None
    if protocol and not protocol.mask and not options.mask_files:
        raise ConfigError(
            f"--protocol {options.protocol} is measured with the masks of {protocol.masks_of}: "
            "name a folder of them with --mask-files"
        )
    from pipeline.evaluation.examiner import Examination, examine
    from pipeline.evaluation.perceptual import Perceptual
    from pipeline.evaluation.photos import check_photos, find_masks, find_photos
    from pipeline.evaluation.run import check_installed, summarise

    check_installed()
    photos = find_photos(options.photos, options.limit or (protocol.photos if protocol else None))
    check_photos(photos, None if protocol else options.max_pixels)
    perceptual = Perceptual(options.hub) if options.hub else None
    if perceptual and len(photos) < 2:
        raise ConfigError(f"FID needs at least two photos, got {len(photos)}")
    if not options.weights and not options.baselines:
        raise ConfigError("evaluate needs a method: name --weights or --baselines")
    examination = Examination(
        [ModelConfig(weights=name).weights for name in options.weights],
        options.baselines,
        settings,
        [protocol.mask] if protocol and protocol.mask else options.masks,
        options.seed,
        options.max_pixels,
        protocol.side_px if protocol else None,
        find_masks(options.mask_files) if options.mask_files else (),
        MaskConfig(threshold=options.mask_threshold, channel=options.mask_channel),
        options.hub,
    )
    for path in filter(None, (options.json, options.sheet)):  # now, rather than when all is measured
        check_writable(path)
    pictured = options.sheet_rows if options.sheet else 0
    rows: list[Mapping[str, str | float]] = []
    strips: list[Image.Image] = []
    examined = examine(photos, examination, pictured, perceptual, options.workers)
    for measured, cases in _with_progress(examined, len(photos)):
        rows += measured
        strips += [_strip(case) for case in cases[: pictured - len(strips)]]
    means = summarise(rows, perceptual)
    sys.stdout.writelines(f"{line}\n" for line in [*_table(means), *(_published(protocol) if protocol else ())])
    if options.json:
        asked = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        figures = {"means": _finite(means), "photos": _finite(rows)}
        content = {"options": asked, "settings": asdict(settings), **figures}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.sheet:
        save_sheet(strips, 1, options.sheet)
    return DONE


def _finite(rows: Sequence[Mapping[str, str | float]]) -> list[dict[str, str | float | None]]:
    """Rows as JSON can hold them: the PSNR of a perfect fill is infinite, and null there."""
    return [{key: None if value == math.inf else value for key, value in row.items()} for row in rows]


def _settings(options: argparse.Namespace) -> InpaintSettings:
    if options.workers < 0:
        raise ConfigError(f"--workers must be 0 or more, got {options.workers}")
    if options.seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {options.seed}")
    try:
        return InpaintSettings(steps=options.steps, guidance=options.guidance, strength=options.strength)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _with_progress(examined: Iterator["Measured"], total: int) -> Iterator["Measured"]:
    """Say on standard error, every now and then, how many photos are measured."""
    said = time.monotonic()
    for done, measured in enumerate(examined, 1):
        yield measured
        if time.monotonic() - said >= PROGRESS_EVERY_S:
            said = time.monotonic()
            sys.stderr.write(f"{done} of {total} photos measured\n")


def _strip(case: "Case") -> Image.Image:
    label = f"{case.photo}  {case.mask_kind}: photo, hole, {', '.join(case.fills)}"
    return strip([case.truth, with_hole(case.truth, case.mask), *case.fills.values()], label)


def _table(means: Sequence[Mapping[str, str | float]]) -> Iterator[str]:
    width = max(len(str(row["method"])) for row in means)
    columns = {name: form for name, form in COLUMNS.items() if name in means[0]}
    yield f"{'mask':<8} {'method':<{width}} photos " + " ".join(f"{name:>8}" for name in columns)
    for row in means:
        figures = " ".join(f"{form.format(row[name]):>8}" for name, form in columns.items())
        yield f"{row['mask']:<8} {row['method']:<{width}} {row['photos']:>6} {figures}"


def _published(protocol: Protocol) -> Iterator[str]:
    yield f"as the paper reports it, for {protocol.photos:,} photos and its own masks:"
    for model, figures in protocol.published.items():
        fid, lpips = ("–" if figure is None else f"{figure:g}" for figure in figures)
        yield f"  {model:<16} fid {fid:>6}  lpips {lpips:>6}"


if __name__ == "__main__":
    sys.exit(main())
