"""Arguments that several commands take, and checks of their values."""

import argparse
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.storage.errors import usable

PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg")


def add_config(
    parser: argparse.ArgumentParser, example: str = "inpaint.yaml, which moebius init writes", optional: bool = False
) -> None:
    """Add CONFIG, a YAML file."""
    parser.add_argument(
        "config", metavar="CONFIG", nargs="?" if optional else None, help=f"YAML file such as {example}"
    )


def add_overrides(parser: argparse.ArgumentParser, example: str = "source.uri=s3://bucket/photos") -> None:
    """Add ``key=value …``, which replace values of CONFIG."""
    parser.add_argument("overrides", metavar="key=value", nargs="*", default=[], help=f"override a key, e.g. {example}")


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Add PICTURE, the contact sheet to write, and its size."""
    parser.add_argument("picture", metavar="PICTURE", type=picture_path, help="file to write, .png or .jpg")
    parser.add_argument("--count", type=positive, default=12, help="maximum number of samples (12)")
    parser.add_argument("--columns", type=positive, default=2, help="samples per row (2)")


def add_sink(parser: argparse.ArgumentParser) -> None:
    """Add SINK and the options of its storage; see :func:`jobs.cli.sink.opened_sink`."""
    parser.add_argument("sink", metavar="SINK", help="sink.uri of a job, or its CONFIG, a YAML file")
    add_pairs(parser, "--storage", "an fsspec option such as endpoint_url=http://…")


def add_pairs(parser: argparse.ArgumentParser, flag: str, meaning: str) -> None:
    """Add an option of the form ``key=value`` that may be repeated."""
    parser.add_argument(flag, metavar="key=value", action="append", default=[], help=f"{meaning}; may be repeated")


def positive(text: str) -> int:
    """Parse a whole number of at least 1.

    Raises:
        ArgumentTypeError: the text is anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}")
    return int(text)


def picture_path(text: str) -> Path:
    """Parse the path of a picture to write.

    Raises:
        ArgumentTypeError: the path has another extension than those of ``PICTURE_EXTENSIONS``.
    """
    if not text.lower().endswith(PICTURE_EXTENSIONS):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .png or .jpg")
    return Path(text)


def check_writable(path: Path, may_replace: bool = True) -> None:
    """Create the folder of an output file and check that the file can be written, before any work is done.

    Args:
        path: the output file.
        may_replace: whether the file may exist.

    Raises:
        ConfigError: the file cannot be written, or exists.
    """
    if path.exists() and not may_replace:
        raise ConfigError(f"{path} exists; --force replaces it")
    with usable(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = path.exists()
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
