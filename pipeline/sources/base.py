"""Sources of samples: the interface, folders of images, and glob patterns."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from pipeline.codecs.identification.kinds import has_extension, readable_extensions
from pipeline.database import in_batches
from pipeline.errors import ConfigError
from pipeline.sources.left_out import LeftOut
from pipeline.sources.wanted import Wanted
from pipeline.storage.storage import Storage, StoredFile

EVERYTHING = "**/*"  # the default pattern, which matches everything and is not evaluated
EMPTY = "-empty-"  # replaces empty folder names in paths of results
MAX_RANGE = 100_000  # of numbers in braces


class SampleRef(NamedTuple):
    """One sample of a source.

    Args:
        sample_id: its name in the manifest.
        size_bytes: approximate bytes to read for it.
        version: changes whenever its file changes.
        file: key of the file that holds it; ``None`` where that is the sample's own name.
        locator: position in that file, in terms of the format; ``None`` where the sample is the file.
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

# Samples with the names of their masks, and what a list says of these: size and version of a file (empty: unknown), or
# annotations as text; and what a list carries.
IMAGES = pa.schema(
    [
        *SAMPLE_REF_SCHEMA,
        ("wanted", pa.string()),
        ("mask_bytes", pa.int64()),
        ("mask_version", pa.string()),
        ("mask_spec", pa.string()),
        ("carried", pa.binary()),
    ]
)

_FILES = pa.schema(list(SAMPLE_REF_SCHEMA)[: len(StoredFile._fields)])


class Source(Protocol):
    """Finds samples below a uri."""

    def files(self, left_out: LeftOut | None = None) -> Iterable[StoredFile]:
        """Yield files with samples, in no particular order; ``left_out`` counts the others as they are listed.

        Raises:
            ConfigError: nothing exists at the uri, or it is not of this format.
        """

    def samples(self, files: Iterable[StoredFile]) -> Iterator[SampleRef]:
        """Yield the samples of files.

        Raises:
            ConfigError: a file that cannot be a part of this source.
        """


@runtime_checkable
class BatchedSource(Source, Protocol):
    """A source that needs no object per sample."""

    def batches(self, files: Iterable[StoredFile]) -> Iterator[pa.RecordBatch]:
        """Yield the samples of files, see :func:`sample_ref_batches`."""


class ImageFolder:
    """Every image file below a uri whose path matches a glob pattern (``**`` spans folders)."""

    def __init__(self, wanted: Wanted, storage: Storage) -> None:
        self.pattern, self.storage = wanted.source.pattern, storage

    def files(self, left_out: LeftOut | None = None) -> Iterator[StoredFile]:
        """See :class:`Source`."""
        taken = readable_extensions()
        files = matching_files(self.storage, self.pattern)
        return (left_out or LeftOut()).sift(files, lambda key: has_extension(key, taken))

    def samples(self, files: Iterable[StoredFile]) -> Iterator[SampleRef]:
        """See :class:`Source`."""
        return (SampleRef(*file) for file in files)

    def batches(self, files: Iterable[StoredFile]) -> Iterator[pa.RecordBatch]:
        """Yield the samples as record batches of ``SAMPLE_REF_SCHEMA``, without one object per sample."""
        for batch in in_batches(files, _FILES):
            missing = [pa.nulls(len(batch), field.type) for field in list(SAMPLE_REF_SCHEMA)[len(_FILES) :]]
            yield pa.record_batch([*batch.columns, *missing], schema=SAMPLE_REF_SCHEMA)


def name_fault(sample_id: str) -> str | None:
    """Return why a name from inside a file cannot name a result, as a fault; ``None`` if it can."""
    parts = sample_id.split("/")
    if ".." in parts or "" in parts or parts[-1] == "." or "\\" in sample_id or "\0" in sample_id:
        return f"UnusableName: no result can be called {sample_id!r} and stay inside the sink: rename it in the source"
    return None


def result_name(sample_id: str) -> str:
    """Return the path of a sample's result: ``./a``, as tar names the files of a folder, becomes ``a``.

    Object stores distinguish ``a//b`` from ``a/b``, disks and some servers do not, so an empty folder name is replaced.

    >>> result_name("a//b.png")
    'a/-empty-/b.png'
    """
    name = re.sub(r"(^|/)(\./)+", r"\1", sample_id)
    return re.sub("(^|/)(?=/)", rf"\1{EMPTY}", name) if "//" in name or name.startswith("/") else name


def sample_ref_batches(source: Source, files: Iterable[StoredFile]) -> Iterator[pa.RecordBatch]:
    """Yield the samples of files as record batches of ``SAMPLE_REF_SCHEMA``, or of ``IMAGES`` where masks are known."""
    if isinstance(source, BatchedSource):
        return source.batches(files)
    return in_batches(source.samples(files), SAMPLE_REF_SCHEMA)


def matching_files(storage: Storage, pattern: str) -> Iterator[StoredFile]:
    """Yield files whose path matches a glob pattern, in no particular order, including dangling links.

    Raises:
        ConfigError: nothing exists there, or the pattern is invalid.
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
    """Compile a glob: ``*`` and ``?`` match inside a folder, ``**/`` matches zero or more folders.

    Braces hold alternatives or a range of numbers.

    >>> [bool(glob_pattern("**/*.jp?g").fullmatch(path)) for path in ("a.jpeg", "b/c/a.jpeg", "a.png")]
    [True, True, False]
    >>> [bool(glob_pattern("x-{08..11}.{tar,tgz}").fullmatch(path)) for path in ("x-09.tar", "x-11.tgz", "x-12.tar")]
    [True, True, False]

    Raises:
        ValueError: the range of numbers is too long.
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
