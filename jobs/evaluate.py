"""``moebius evaluate PHOTOS``: measure the fills of models and of classical methods against ground truth."""

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

from jobs.cli.arguments import check_writable, picture_path, positive
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.pictures.sheet import save_sheet, strip, with_hole
from jobs.tables.evaluation import means_lines, published_lines
from moebius.inference.settings import SAMPLERS, STARTS, InpaintSettings
from pipeline.config.job import MaskConfig, ModelConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.baselines import BASELINES
from pipeline.evaluation.masks import MASKS
from pipeline.evaluation.protocols import PROTOCOLS, Protocol

if TYPE_CHECKING:
    from pipeline.evaluation.evaluator import EvaluationConfig, Measured
    from pipeline.evaluation.run import Case

MEGAPIXEL = 1_000_000
PROGRESS_EVERY_S = 10.0
KINDS = ["text", "strokes", "objects"]
Row = Mapping[str, str | float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, measure, and write the results."""
    options = _parser().parse_intermixed_args(arguments)
    return run_command(lambda: _evaluate(options))


def _parser() -> argparse.ArgumentParser:
    mask = MaskConfig()
    parser = new_parser(
        "evaluate",
        "Blank seeded holes in photos, fill them, and measure PSNR, SSIM and texture distance inside them.",
    )
    add = parser.add_argument
    add("photos", metavar="PHOTOS", type=Path, help="folder of JPEG, PNG or WebP files")
    add("--weights", nargs="*", default=["nano"], help="models, in the forms of model.weights (nano)")
    kinds = f"kinds of holes, any of {', '.join(MASKS)} ({' '.join(KINDS)})"
    add("--masks", nargs="+", default=KINDS, choices=MASKS, help=kinds)
    add("--baselines", nargs="*", default=list(BASELINES), choices=BASELINES, help="fills without a model (all)")
    add("--limit", type=positive, help="maximum number of photos, spread over the folder (all)")
    add("--max-pixels", type=positive, default=MEGAPIXEL, help="scale larger photos down to this size (1000000)")
    protocol = (
        "a data set of the paper, whose sizes and holes replace --masks and --max-pixels; see docs/how-to/evaluation.md"
    )
    add("--protocol", choices=PROTOCOLS, help=protocol)
    files = "use these masks instead of drawn ones, also for a protocol; white = hole"
    add("--mask-files", metavar="FOLDER", type=Path, help=files)
    add("--mask-threshold", type=float, default=mask.threshold, help="like mask.threshold of a job (0.5)")
    add("--mask-channel", default=mask.channel, help="like mask.channel of a job: colour or alpha (colour)")
    add("--workers", type=int, default=0, help="Ray workers, at RAY_ADDRESS or on this machine; 0: no Ray (0)")
    add("--seed", type=int, default=0, help="seed of holes and models (0)")
    _add_settings(parser)
    hub = "folder of torch.hub; adds LPIPS and FID, see docs/how-to/evaluation.md"
    add("--hub", metavar="FOLDER", type=Path, help=hub)
    add("--json", metavar="FILE", type=Path, help="write the means and the figures of each photo")
    sheet = "write a .png or .jpg: photo, hole, every fill"
    add("--sheet", metavar="FILE", type=picture_path, help=sheet)
    add("--sheet-rows", type=positive, default=12, help="maximum number of rows in the sheet (12)")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    usual, add = InpaintSettings(), parser.add_argument_group("model, like the keys of a job").add_argument
    add("--steps", type=int, default=usual.steps, help=f"model.steps ({usual.steps})")
    add("--guidance", type=_number_or_auto, default=usual.guidance, help=f"model.guidance ({usual.guidance})")
    low, high = usual.guidance_interval
    interval = f"model.guidance_interval ({low} {high})"
    add("--guidance-interval", type=int, nargs=2, metavar=("FIRST", "LAST"), default=(low, high), help=interval)
    add("--sampler", default=usual.sampler, choices=SAMPLERS, help=f"model.sampler ({usual.sampler})")
    add("--strength", type=float, default=usual.strength, help=f"model.strength ({usual.strength})")
    add("--start", default=usual.start, choices=STARTS, help=f"model.start ({usual.start})")
    add("--candidates", type=positive, default=usual.candidates, help=f"model.candidates ({usual.candidates})")
    add("--context", type=float, default=usual.context, help=f"window.context ({usual.context})")
    add("--refine", type=float, default=usual.refine, help=f"window.refine ({usual.refine})")


def _number_or_auto(text: str) -> float | str:
    return text if text == "auto" else float(text)


def _evaluate(options: argparse.Namespace) -> int:
    settings = _settings(options)
    for name in ("photos", "mask_files", "hub"):  # workers run in other folders
        if path := getattr(options, name):
            setattr(options, name, path.absolute())
    protocol = PROTOCOLS[options.protocol] if options.protocol else None
    if protocol and not protocol.mask and not options.mask_files:
        raise ConfigError(
            f"--protocol {options.protocol} is measured with the masks of {protocol.masks_of}: "
            "name a folder of them with --mask-files"
        )
    from pipeline.evaluation.evaluator import evaluate_photos
    from pipeline.evaluation.perceptual import Perceptual
    from pipeline.evaluation.photos import check_photos, find_photos
    from pipeline.evaluation.run import check_installed, summarise

    check_installed()
    photos = find_photos(options.photos, options.limit or (protocol.photos if protocol else None))
    check_photos(photos, None if protocol else options.max_pixels)
    perceptual = Perceptual(options.hub) if options.hub else None
    if perceptual and len(photos) < 2:
        raise ConfigError(f"FID needs at least two photos, got {len(photos)}")
    if not options.weights and not options.baselines:
        raise ConfigError("evaluate needs a method: name --weights or --baselines")
    config = _evaluation_config(options, settings, protocol)
    for path in filter(None, (options.json, options.sheet)):  # fail before measuring, not after
        check_writable(path)
    pictured = options.sheet_rows if options.sheet else 0
    rows: list[Row] = []
    strips: list[Image.Image] = []
    results = evaluate_photos(photos, config, pictured, perceptual, options.workers)
    for measured, cases in _with_progress(results, len(photos)):
        rows += measured
        strips += [_strip(case) for case in cases[: pictured - len(strips)]]
    means = summarise(rows, perceptual)
    lines = [*means_lines(means), *(published_lines(protocol) if protocol else ())]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    if options.json:
        _write_json(options, settings, means, rows)
    if options.sheet:
        save_sheet(strips, 1, options.sheet)
    return DONE


def _evaluation_config(
    options: argparse.Namespace, settings: InpaintSettings, protocol: Protocol | None
) -> "EvaluationConfig":
    from pipeline.evaluation.evaluator import EvaluationConfig
    from pipeline.evaluation.photos import find_masks

    return EvaluationConfig(
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


def _write_json(
    options: argparse.Namespace, settings: InpaintSettings, means: Sequence[Row], rows: Sequence[Row]
) -> None:
    given = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    figures = {"means": _finite(means), "photos": _finite(rows)}
    content = {"options": given, "settings": asdict(settings), **figures}
    options.json.write_text(json.dumps(content, indent=1) + "\n")


def _finite(rows: Sequence[Row]) -> list[dict[str, str | float | None]]:
    """Replace infinity, the PSNR of a perfect fill, with null: JSON has no infinity."""
    return [{key: None if value == math.inf else value for key, value in row.items()} for row in rows]


def _settings(options: argparse.Namespace) -> InpaintSettings:
    if options.workers < 0:
        raise ConfigError(f"--workers must be 0 or more, got {options.workers}")
    if options.seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {options.seed}")
    try:
        return InpaintSettings(
            steps=options.steps,
            guidance=options.guidance,
            guidance_interval=tuple(options.guidance_interval),
            sampler=options.sampler,
            strength=options.strength,
            start=options.start,
            context=options.context,
            refine=options.refine,
            candidates=options.candidates,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _with_progress(results: Iterator["Measured"], total: int) -> Iterator["Measured"]:
    """Pass photos on, and print to standard error how many are measured, every ``PROGRESS_EVERY_S`` seconds."""
    printed = time.monotonic()
    for done, measured in enumerate(results, 1):
        yield measured
        if time.monotonic() - printed >= PROGRESS_EVERY_S:
            printed = time.monotonic()
            sys.stderr.write(f"{done} of {total} photos measured\n")


def _strip(case: "Case") -> Image.Image:
    label = f"{case.photo}  {case.mask_kind}: photo, hole, {', '.join(case.fills)}"
    return strip([case.truth, with_hole(case.truth, case.mask), *case.fills.values()], label)


if __name__ == "__main__":
    sys.exit(main())
