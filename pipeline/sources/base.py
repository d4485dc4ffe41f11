"""What is to be done: the samples of a source, in whichever format it holds them."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import pyarrow as pa

from pipeline.codecs.kinds import HEIC_EXTENSIONS, IMAGE_EXTENSIONS, heic_is_installed
from pipeline.config.job import JobConfig
from pipeline.database import in_batches
from pipeline.errors import ConfigError
from pipeline.sources.left_out import LeftOut
from pipeline.storage.storage import Storage, StoredFile

EVERYTHING = "**/*"  # the pattern by default, which need not be looked at ten million times
EMPTY = "-empty-"  # name of a result's folder whose name in the source has no character
MAX_RANGE = 100_000  # of numbers in braces


class SampleRef(NamedTuple):
    """One sample of a source.

    Args:
        sample_id: its name in the manifest.
        size_bytes: of what is read for it, about.
        version: changes whenever its file does.
        file: key of the file that holds it; ``None`` where that is the sample's own name.
        locator: where in that file, as the format writes it; ``None`` where the sample is the file.
        has_mask: whether the source holds a mask beside the image.
        fault: why it cannot be read, as ``Type: sentence``.
    """

    sample_id: str
    size_bytes: int
    version: str
    file: str | None = None
    locator: list[int] | None = None
    has_mask: bool = False
    fault: str | None = None


SAMPLE_REF_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("size_bytes", pa.int64()),
        ("version", pa.string()),
        ("file", pa.string()),
        ("locator", pa.list_(pa.int64())),
        ("has_mask", pa.bool_()),
        ("fault", pa.string()),
    ]
)


_FILES = pa.schema(list(SAMPLE_REF_SCHEMA)[: len(StoredFile._fields)])


class Source(Protocol):
    """Finds samples below a uri."""

    def files(self, left_out: LeftOut | None = None) -> Iterable[StoredFile]:
        """Files that hold samples, in no particular order; ``left_out`` counts the others as they are listed.

        Raises:
            ConfigError: nothing lies at the uri, or it is not of this format.
        """

    def samples(self, files: Iterable[StoredFile]) -> Iterator[SampleRef]:
        """The samples of files.

        Raises:
            ConfigError: a file that cannot be a part of this source.
        """


class ImageFolder:
    """Every image file below a uri whose path matches a glob pattern (``**`` spans folders)."""

    def __init__(self, config: JobConfig, storage: Storage) -> None:
        self.pattern, self.storage = config.source.pattern, storage

    def files(self, left_out: LeftOut | None = None) -> Iterator[StoredFile]:
        """See :class:`Source`."""
        taken = IMAGE_EXTENSIONS if heic_is_installed() else IMAGE_EXTENSIONS - HEIC_EXTENSIONS
        files = matching_files(self.storage, self.pattern)
        return (left_out or LeftOut()).sift(files, lambda key: key[key.rfind(".") :].lower() in taken)

    def samples(self, files: Iterable[StoredFile]) -> Iterator[SampleRef]:
        """See :class:`Source`."""
        return (SampleRef(*file) for file in files)

    def batches(self, files: Iterable[StoredFile]) -> Iterator[pa.RecordBatch]:
        """The same as record batches of ``SAMPLE_REF_SCHEMA``, without an object for each of millions of samples."""
        for batch in in_batches(files, _FILES):
            missing = [pa.nulls(len(batch), field.type) for field in list(SAMPLE_REF_SCHEMA)[len(_FILES) :]]
            yield pa.record_batch([*batch.columns, *missing], schema=SAMPLE_REF_SCHEMA)


def name_fault(sample_id: str) -> str | None:
    """Why a name from inside a file cannot be that of a sample, as a fault of a plan; results are named after it."""
    parts = sample_id.split("/")
    if ".." in parts or "" in parts or parts[-1] == "." or "\\" in sample_id or "\0" in sample_id:
        return f"UnusableName: no result can be called {sample_id!r} and stay inside the sink: rename it in the source"
    return None


def result_name(sample_id: str) -> str:
    """Path of a sample's result: ``./a``, as tar names the files of a folder, becomes ``a``.

    Object stores tell ``a//b`` from ``a/b``, disks and some servers do not; so a folder without a name gets one.

    >>> result_name("a//b.png")
    'a/-empty-/b.png'
    """
    name = re.sub(r"(^|/)(\./)+", r"\1", sample_id)
    return re.sub("(^|/)(?=/)", rf"\1{EMPTY}", name) if "//" in name or name.startswith("/") else name


def sample_ref_batches(source: Source, files: Iterable[StoredFile]) -> Iterator[pa.RecordBatch]:
    """The samples of files as record batches of ``SAMPLE_REF_SCHEMA``."""
    if isinstance(source, ImageFolder):
        return source.batches(files)
    return in_batches(source.samples(files), SAMPLE_REF_SCHEMA)


def matching_files(storage: Storage, pattern: str) -> Iterator[StoredFile]:
    """Files of a storage whose path matches a glob pattern, in no particular order; also links that lead to nothing.

    Raises:
        ConfigError: nothing lies there, or the pattern is none.
    """
    if not storage.exists():
        raise ConfigError(f"source.uri: nothing at {storage}")
    try:
        matches = glob_pattern(pattern).fullmatch
    except (re.error, ValueError) as error:
        raise ConfigError(f"source.pattern={pattern!r}: {error}") from error
    files = storage.list_files(dead_links=True)
    return files if pattern == EVERYTHING else (file for file in files if matches(file.key))


_GLOB_TOKENS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``*`` and ``?`` stay inside a folder, ``**/`` spans any number, also none.

    Braces hold alternatives, or numbers from … to.

    >>> [bool(glob_pattern("**/*.jp?g").fullmatch(path)) for path in ("a.jpeg", "b/c/a.jpeg", "a.png")]
    [True, True, False]
    >>> [bool(glob_pattern("x-{08..11}.{tar,tgz}").fullmatch(path)) for path in ("x-09.tar", "x-11.tgz", "x-12.tar")]
    [True, True, False]

    Raises:
        ValueError: a range of numbers that is too long.
    """
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\]|\{[^{}]+\})", pattern)
    return re.compile("".join(map(_glob_token, tokens)), re.DOTALL)


def _glob_token(token: str) -> str:
    if token.startswith("[") and token.endswith("]"):
        return "[^/" + token[2:] if token.startswith("[!") else token
    if token.startswith("{") and token.endswith("}"):
        return f"(?:{'|'.join(map(re.escape, _alternatives(token[1:-1])))})"
    return _GLOB_TOKENS.get(token, re.escape(token))


def _alternatives(braced: str) -> list[str]:
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", braced)
    if not numbers:
        return braced.split(",")
    first, last = sorted(map(int, numbers.groups()))
    if last - first >= MAX_RANGE:
        raise ValueError(f"{{{braced}}} spans more than {MAX_RANGE} numbers; use * instead")
    return [f"{number:0{len(numbers[1])}}" for number in range(first, last + 1)]
