"""The arguments of ``moebius evaluate``."""

import argparse
from pathlib import Path

from jobs.cli.arguments import picture_path, positive
from jobs.cli.parser import new_parser
from moebius.inference.settings import SAMPLERS, STARTS, InpaintSettings
from pipeline.config.job import MaskConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.baselines import BASELINES
from pipeline.evaluation.masks import MASKS
from pipeline.evaluation.protocols import PROTOCOLS

MEGAPIXEL = 1_000_000
KINDS = ["text", "strokes", "objects"]


def evaluation_parser() -> argparse.ArgumentParser:
    """Build the parser of ``moebius evaluate``."""
    parser = new_parser(
        "evaluate",
        "Blank seeded holes in photos, fill them, and measure PSNR, SSIM, texture and learnt distances inside them.",
    )
    add = parser.add_argument
    add("photos", metavar="PHOTOS", type=Path, nargs="?", help="folder of JPEG, PNG or WebP files")
    add("--weights", nargs="*", default=["nano"], help="models, in the forms of model.weights (nano)")
    add("--baselines", nargs="*", default=list(BASELINES), choices=BASELINES, help="fills without a model (all)")
    against = (
        "fills of other programs: a folder of results, onnx:FILE, diffusers:MODEL or python:module:function; "
        "see docs/how-to/evaluation.md"
    )
    add("--against", metavar="FILLS", nargs="+", action="extend", default=[], help=against)
    add("--limit", type=positive, help="maximum number of photos, spread over the folder (all)")
    add("--max-pixels", type=positive, default=MEGAPIXEL, help="scale larger photos down to this size (1000000)")
    add("--workers", type=int, default=0, help="Ray workers, at RAY_ADDRESS or on this machine; 0: no Ray (0)")
    add("--seed", type=int, default=0, help="seed of holes and models (0)")
    _add_masks(parser)
    _add_settings(parser)
    _add_metrics(parser)
    _add_outputs(parser)
    return parser


def settings_of(options: argparse.Namespace) -> InpaintSettings:
    """Return the settings of models.

    Raises:
        ConfigError: a value that a model does not take.
    """
    if options.workers < 0:
        raise ConfigError(f"--workers must be 0 or more, got {options.workers}")
    if options.seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {options.seed}")
    try:
        return InpaintSettings.among(vars(options))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _add_masks(parser: argparse.ArgumentParser) -> None:
    mask, add = MaskConfig(), parser.add_argument_group("holes").add_argument
    kinds = f"kinds of holes, any of {', '.join(MASKS)} ({' '.join(KINDS)})"
    add("--masks", nargs="+", default=KINDS, choices=MASKS, help=kinds)
    protocol = (
        "a data set of the paper, whose sizes and holes replace --masks and --max-pixels; see docs/how-to/evaluation.md"
    )
    add("--protocol", choices=PROTOCOLS, help=protocol)
    files = "use these masks instead of drawn ones, also for a protocol; white = hole"
    add("--mask-files", metavar="FOLDER", type=Path, help=files)
    add("--mask-threshold", type=float, default=mask.threshold, help="like mask.threshold of a job (0.5)")
    add("--mask-channel", default=mask.channel, help="like mask.channel of a job: colour or alpha (colour)")


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


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("learnt distances").add_argument
    features = "compare features of EfficientNet-Lite0 (if the extra features is installed)"
    add("--features", action=argparse.BooleanOptionalAction, help=features)
    hub = "folder of torch.hub; adds LPIPS and FID, see docs/how-to/evaluation.md"
    add("--hub", metavar="FOLDER", type=Path, help=hub)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("outputs beside the table").add_argument
    cases = "only write the photos, with their holes blanked, and masks, so that another program can fill them"
    add("--write-cases", metavar="FOLDER", type=Path, help=cases)
    page = "write an .html page: the table, and pairs of fills without names for people to compare"
    add("--page", metavar="FILE", type=Path, help=page)
    add("--pairs", type=positive, default=60, help="maximum number of pairs in the page (60)")
    votes = "only count the votes that people saved in pages"
    add("--votes", metavar="FILE", type=Path, nargs="+", help=votes)
    add("--json", metavar="FILE", type=Path, help="write the means and the figures of each photo")
    sheet = "write a .png or .jpg: photo, hole, every fill"
    add("--sheet", metavar="FILE", type=picture_path, help=sheet)
    add("--sheet-rows", type=positive, default=12, help="maximum number of rows in the sheet (12)")


def _number_or_auto(text: str) -> float | str:
    return text if text == "auto" else float(text)
