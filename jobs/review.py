"""``moebius review SINK``: hand a sample of results to people, and with ``--import`` take their verdicts back."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.cli.arguments import add_sink, positive
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.configuration.storage_options import parse_storage_options
from pipeline.review.registry import REVIEW_TOOLS

if TYPE_CHECKING:
    from pipeline.review.take_back import TakenBack
    from pipeline.storage.storage import Storage

FOLDER, COUNT = "review", 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, then write a folder for people to judge, or import what they said."""
    parser = new_parser(
        "review",
        "Draw a stratified sample of the results of a sink, and write a folder in which people judge each as good, bad "
        "or unsure and correct masks; with --import, store what they said in the sink. The next run can redo what "
        "they call bad, by run.select=\"verdict = 'bad'\", and uses the corrected masks.",
    )
    add_sink(parser)
    parser.add_argument("output", metavar="OUT", nargs="?", type=Path, help=f"folder to write ({FOLDER}/)")
    parser.add_argument("--where", metavar="EXPR", help="draw only results for which this SQL expression is true")
    parser.add_argument("--by", metavar="EXPR", help="SQL expression whose values are the strata")
    parser.add_argument("--count", type=positive, metavar="N", help=f"results to draw, at most ({COUNT})")
    parser.add_argument("--seed", type=int, metavar="N", help="another number draws another sample (0)")
    parser.add_argument("--to", choices=list(REVIEW_TOOLS), help="tool to judge with (folder: any browser)")
    parser.add_argument(
        "--import",
        dest="answers",
        metavar="PATH",
        type=Path,
        help="verdicts.csv, the folder it is in, a JSON export of Label Studio, or a folder exported by FiftyOne",
    )
    options = parser.parse_intermixed_args(arguments)
    return run_command(lambda: _import(options) if options.answers else _draw(options))


def _open(options: argparse.Namespace) -> "Storage":
    from pipeline.config.values import absolute_uri
    from pipeline.storage.storage import Storage

    return Storage(absolute_uri(options.sink, "SINK"), parse_storage_options(options.storage))


def _draw(options: argparse.Namespace) -> int:
    from pipeline.review.draw import draw_sample
    from pipeline.review.hand_out import hand_out

    sink = _open(options)
    draw = draw_sample(sink, options.where, options.by, options.count or COUNT, options.seed or 0)
    folder = options.output or Path(FOLDER)
    next_step = hand_out(sink, parse_storage_options(options.storage), draw, options.to or "folder", folder)
    drawn = {name: sum(row["stratum"] == name for row in draw.rows) for name in draw.strata}
    for name, size in draw.strata.items():
        sys.stdout.write(f"{_plain(name):<40} {drawn[name]:>7} of {size}\n")
    sys.stdout.write(f"{len(draw.rows)} results to judge: {next_step}\n")
    return DONE


def _import(options: argparse.Namespace) -> int:
    from pipeline.errors import ConfigError
    from pipeline.review.summary import describe_rounds
    from pipeline.review.take_back import take_back

    drawing = {"OUT": options.output, "--where": options.where, "--by": options.by, "--count": options.count}
    drawing |= {"--seed": options.seed, "--to": options.to}
    if given := [name for name, value in drawing.items() if value is not None]:
        raise ConfigError(f"--import takes verdicts back and draws nothing: {given[0]} has no meaning beside it")
    sink = _open(options)
    taken = take_back(sink, options.answers)
    sys.stdout.write(_describe(taken) + "".join(f"{line}\n" for line in describe_rounds(sink)))
    return DONE


def _describe(taken: "TakenBack") -> str:
    """Describe what was imported, and what was not."""
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(taken.verdicts.items()))
    where = "imported before, nothing new" if taken.is_known else taken.key or "nothing to import"
    lines = [f"reviews: {taken.verdicts.total()}{f' ({counts})' if counts else ''}; {where}"]
    if taken.corrected_masks and not taken.is_known:
        lines.append(f"corrected masks: {taken.corrected_masks}; the next moebius inpaint uses them")
    lines += [f"left out: {number} {reason}" for reason, number in sorted(taken.left_out.items())]
    if taken.outdated:
        lines.append(f"outdated: {taken.outdated} are of results that have been replaced since")
    return "".join(f"{line}\n" for line in lines)


def _plain(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


if __name__ == "__main__":
    sys.exit(main())
