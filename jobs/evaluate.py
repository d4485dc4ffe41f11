"""``moebius evaluate PHOTOS``: measure the fills of models and of classical methods against ground truth."""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from jobs.cli.arguments import check_writable
from jobs.cli.evaluation import evaluation_parser, settings_of
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE, TOO_MANY_FAILED
from jobs.pictures.sheet import save_sheet, strip, with_hole
from jobs.tables.evaluation import means_lines, means_table, preference_lines, published_lines
from moebius.inference.settings import InpaintSettings
from pipeline.config.job import MaskConfig, ModelConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.protocols import PROTOCOLS, Protocol
from pipeline.report.formatting import shown

if TYPE_CHECKING:
    from pipeline.evaluation.case import Case
    from pipeline.evaluation.evaluator import EvaluationConfig, Evaluator, Measured
    from pipeline.evaluation.votes.pairs import Pair

PROGRESS_EVERY_S = 10.0
Row = Mapping[str, str | float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, measure, and write the results."""
    options = evaluation_parser().parse_intermixed_args(arguments)
    return run_command(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> int:
    if options.votes:
        return _count_votes(options.votes)
    if options.photos is None:
        raise ConfigError("evaluate needs PHOTOS, a folder of photos; or --votes to count votes")
    settings = settings_of(options)
    for name in ("photos", "mask_files", "hub"):  # workers run in other folders
        if path := getattr(options, name):
            setattr(options, name, path.absolute())
    protocol = PROTOCOLS[options.protocol] if options.protocol else None
    if protocol and not protocol.mask and not options.mask_files:
        raise ConfigError(
            f"--protocol {options.protocol} is measured with the masks of {protocol.masks_of}: "
            "name a folder of them with --mask-files"
        )
    from pipeline.evaluation.evaluator import Evaluator
    from pipeline.evaluation.networks import check_photos_for_sets
    from pipeline.evaluation.photos import check_names, check_photos, find_photos
    from pipeline.evaluation.run import check_installed

    check_installed()
    photos = find_photos(options.photos, options.limit or (protocol.photos if protocol else None))
    check_photos(photos, None if protocol else options.max_pixels)
    if options.write_cases or options.against or options.page:
        check_names(photos)
    check_photos_for_sets(options.hub, len(photos))
    if not options.weights and not options.baselines and not options.against:
        raise ConfigError("evaluate needs a method: name --weights, --baselines or --against")
    config = _evaluation_config(options, settings, protocol)
    if options.write_cases:
        return _write_cases(options.write_cases, photos, config)
    for path in filter(None, (options.json, options.sheet, options.page)):  # fail before measuring, not after
        check_writable(path)
    evaluator = Evaluator(config)
    _check_methods(options.page, list(evaluator.methods))
    return _measure(options, photos, evaluator, protocol)


def _check_methods(page: Path | None, methods: Sequence[str]) -> None:
    if page and len(methods) < 2:
        raise ConfigError(
            f"--page compares two methods or more, got only {', '.join(methods)}; name another with --weights, "
            "--baselines or --against"
        )


def _measure(
    options: argparse.Namespace, photos: Sequence[Path], evaluator: "Evaluator", protocol: Protocol | None
) -> int:
    """Measure all photos, write table, figures and pictures, and return the exit code."""
    from pipeline.evaluation.evaluator import evaluate_photos
    from pipeline.evaluation.networks import features_note
    from pipeline.evaluation.summary import failed_methods, failure_notes, summarise
    from pipeline.evaluation.votes.pairs import PairDrawer
    from pipeline.evaluation.votes.render import render_votes

    sheet_rows = options.sheet_rows if options.sheet else 0
    rows: list[Row] = []
    strips: list[Image.Image] = []
    drawer = PairDrawer(_pairs(options, photos, evaluator) if options.page else ())
    pictured = {*range(sheet_rows), *drawer.photos}
    results = evaluate_photos(photos, evaluator.config, pictured, evaluator, options.workers)
    for measured, cases in _with_progress(results, len(photos)):
        rows += measured
        strips += [_strip(case) for case in cases[: sheet_rows - len(strips)]]
        for case in cases:
            drawer.add(case)
    means = summarise(rows, evaluator.networks, evaluator.parameters())
    notes = [*failure_notes(rows), *evaluator.notes()]
    if missing := features_note(options.features):
        notes.append(missing)
    if options.page and not drawer.drawn():
        notes.append("the page shows no pairs: no chosen hole has fills of two methods")
    lines = [*means_lines(means), *notes, *(published_lines(protocol) if protocol else ())]
    _print(lines)
    if options.json:
        _write_json(options, evaluator.config.settings, means, rows, notes)
    if options.page:
        options.page.write_bytes(render_votes(drawer.drawn(), *means_table(means), notes))
    if options.sheet:
        save_sheet(strips, 1, options.sheet)
    return TOO_MANY_FAILED if failed_methods(rows) else DONE


def _print(lines: Iterable[str]) -> None:
    """Print lines with names of files and methods in them, which must not control the terminal."""
    sys.stdout.writelines(f"{shown(line)}\n" for line in lines)


def _pairs(options: argparse.Namespace, photos: Sequence[Path], evaluator: "Evaluator") -> list["Pair"]:
    from pipeline.evaluation.run import FROM_FILES
    from pipeline.evaluation.votes.pairs import choose_pairs

    kinds = [FROM_FILES] if evaluator.config.mask_files else evaluator.config.masks
    names = [path.name for path in photos]
    return choose_pairs(names, kinds, list(evaluator.methods), options.pairs, options.seed)


def _count_votes(paths: Sequence[Path]) -> int:
    from pipeline.evaluation.votes.count import count_votes

    _print(preference_lines(count_votes(paths)))
    return DONE


def _write_cases(folder: Path, photos: Sequence[Path], config: "EvaluationConfig") -> int:
    from pipeline.evaluation.cases_folder import write_cases

    count = write_cases(folder, photos, config)
    sys.stdout.write(
        f"{count} photos and masks are in {folder}: let the other program fill them, and name its results KIND/NAME.png"
        " like the photos; then measure with the same options, and --against RESULTS instead of --write-cases\n"
    )
    return DONE


def _evaluation_config(
    options: argparse.Namespace, settings: InpaintSettings, protocol: Protocol | None
) -> "EvaluationConfig":
    from pipeline.evaluation.against.specs import Spec
    from pipeline.evaluation.evaluator import EvaluationConfig
    from pipeline.evaluation.networks import check_features
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
        check_features(options.features),
        [Spec.parse(text) for text in options.against],
    )


def _write_json(
    options: argparse.Namespace,
    settings: InpaintSettings,
    means: Sequence[Row],
    rows: Sequence[Row],
    notes: Sequence[str],
) -> None:
    from pipeline.evaluation.memory import memory_place

    given = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    figures = {"means": _finite(means), "photos": _finite(rows), "notes": list(notes)}
    content = {"options": given, "settings": asdict(settings), "memory_of": memory_place(), **figures}
    options.json.write_text(json.dumps(content, indent=1) + "\n")


def _finite(rows: Sequence[Row]) -> list[dict[str, str | float | None]]:
    """Replace infinity, the PSNR of a perfect fill, with null: JSON has no infinity."""
    return [{key: None if value == math.inf else value for key, value in row.items()} for row in rows]


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
