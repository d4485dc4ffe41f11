"""``moebius export SINK TARGET``: publish the results of a sink as a data set or table."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.cli.arguments import add_pairs, add_sink
from jobs.cli.exit_codes import DISAGREE, DONE
from jobs.cli.parser import new_parser
from jobs.cli.sink import change_sink, opened_sink
from jobs.configuration.storage_options import parse_storage_options
from pipeline.errors import ConfigError
from pipeline.export.registry import EXPORT_FORMATS, IMAGES, REFERENCES
from pipeline.uris import protocol_of, scheme_of

if TYPE_CHECKING:
    from pipeline.export.run import Exported
    from pipeline.storage.storage import Storage

_LOCAL = ("", "file", "local")  # schemes
_BY_SCHEME = {"hf": "hf", "iceberg": "iceberg"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, export what has changed, and print how many rows were written and left out."""
    parser = new_parser(
        "export",
        "Publish the current results of a sink, one row each, with image, columns of the manifest and carried columns. "
        "Run it again to add, replace and remove only the rows that changed, in one commit. TARGET is a folder or "
        "bucket (Parquet files that datasets.load_dataset reads), hf://datasets/OWNER/NAME, FOLDER.lance, "
        "iceberg://CATALOG/NAMESPACE/TABLE, or a folder or bucket with --format delta (a table) or imagefolder (image "
        "files and metadata.parquet).",
    )
    add_sink(parser)
    parser.add_argument("target", metavar="TARGET", help="where to publish")
    parser.add_argument("--format", choices=list(EXPORT_FORMATS), help="format of TARGET (as TARGET says, or parquet)")
    parser.add_argument(
        "--images", choices=IMAGES, default=IMAGES[0], help="image files in the rows, or only their uris (bytes)"
    )
    parser.add_argument("--with-unchanged", action="store_true", help="also samples that had nothing to fill")
    parser.add_argument("--without-carried", action="store_true", help="leave out the columns of sink.carry")
    parser.add_argument("--purge", action="store_true", help="then delete earlier versions of TARGET and their rows")
    add_pairs(parser, "--target-storage", "an option of TARGET's storage, or a property of its catalog")
    options = parser.parse_args(arguments)
    return change_sink("export", lambda run_id: _export(options))


def _export(options: argparse.Namespace) -> int:
    from pipeline.export.run import ExportOptions, export

    sink, access = opened_sink(options)
    kind = options.format or format_of_target(options.target)
    uri = _target_uri(options.target, kind)
    _check_apart(sink, uri, kind, options.images)
    given = parse_storage_options(options.target_storage, "--target-storage")
    same = protocol_of(uri) == protocol_of(str(sink))
    target = EXPORT_FORMATS.load(kind)(uri, {**(access if same else {}), **given})
    with target:
        done = export(sink, target, ExportOptions(options.images, options.with_unchanged, not options.without_carried))
        if options.purge:
            target.purge()
    keeps_removed = target.has_versions and not options.purge
    sys.stdout.write("".join(f"{line}\n" for line in _describe(done, options.target, keeps_removed)))
    return DISAGREE if done.unread else DONE


def format_of_target(target: str) -> str:
    """Return the format that the scheme or the ending of a target says."""
    if scheme_of(target) in _BY_SCHEME:
        return _BY_SCHEME[scheme_of(target)]
    return "lance" if target.rstrip("/").endswith(".lance") else "parquet"


def _target_uri(target: str, kind: str) -> str:
    from pipeline.config.values import absolute_uri

    scheme = next((scheme for scheme, name in _BY_SCHEME.items() if name == kind), None)
    if scheme and scheme_of(target) != scheme:
        raise ConfigError(f"--format {kind} needs a TARGET that begins with {scheme}://")
    if not scheme and scheme_of(target) in _BY_SCHEME:
        raise ConfigError(f"--format {kind} cannot write to {scheme_of(target)}://")
    return absolute_uri(target.rstrip("/") if len(target) > 1 else target, "TARGET")


def _check_apart(sink: "Storage", uri: str, kind: str, images: str) -> None:
    """Check that the target is not in the sink or around it, and that its readers can follow references."""
    from pipeline.storage.storage import Storage

    if kind == "hf":
        if images == REFERENCES and sink.is_local:
            raise ConfigError("--images references: readers of hf:// cannot open files of this machine; use bytes")
        return
    if kind == "iceberg":
        return
    target = f"{Storage(uri, {}) if scheme_of(uri) in _LOCAL else uri}/"
    if f"{sink}/".startswith(target) or target.startswith(f"{sink}/"):
        raise ConfigError(f"TARGET must be neither in SINK nor around it, got {uri}")


def _describe(done: "Exported", target: str, keeps_removed: bool) -> list[str]:
    lines = [f"{target}: {done.rows} rows; {_change(done)}"]
    if done.replaced_all:
        lines.append("all rows were written again: the columns are others than before")
    elif done.copied:
        lines.append(f"copied: {done.copied} unchanged rows that shared files with removed ones")
    lines += [f"left out: {count} {reason}" for reason, count in sorted(done.left_out.items())]
    lines += [
        f"unreadable: {count} results {reason}; see moebius verify" for reason, count in sorted(done.unread.items())
    ]
    if (done.removed or done.changed) and keeps_removed:
        lines.append("earlier versions of TARGET still hold removed rows; --purge deletes them")
    return lines


def _change(done: "Exported") -> str:
    if done.version is None:
        return "nothing changed"
    return f"{done.added} added, {done.changed} changed, {done.removed} removed; {done.version}"


if __name__ == "__main__":
    sys.exit(main())
