"""Samples in tar shards, as WebDataset lays them out: members that share a key, such as ``7.jpg`` and ``7.mask.png``.

The plan notes where in its shard each member lies, so that a worker reads the samples of a unit with one request and a
shard needs no order of work. A compressed shard has no such places but those in its decompressed stream.
"""

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import IO, Any

from pipeline.config import JobConfig
from pipeline.errors import ConfigError
from pipeline.left_out import LeftOut
from pipeline.settled import counted
from pipeline.sources import IMAGE_EXTENSIONS, Found, matching_files, name_fault
from pipeline.storage import Storage, StoredFile

SUFFIXES = (".tar", ".tar.gz", ".tgz")
BLOCK_BYTES = 1 << 20  # of a shard are read at once while its headers are looked at
MOST_EXPANSION = 200  # a compressed shard that grows more than that, and by more than this, is a bomb
LEAST_BOMB_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 20  # of a member: long names and extended attributes, which are read into memory
BROKEN = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, RecursionError)  # the last of headers upon headers


@dataclass
class Members:
    """Members of one sample.

    Args:
        key: path and name up to the first dot of the name.
        by_extension: start and length of each member, by what follows that dot.
    """

    key: str
    by_extension: dict[str, tuple[int, int]] = field(default_factory=dict)


class TarShards:
    """Samples of all shards below a uri whose path matches a pattern.

    The place of a sample is start and length of its image, its mask and its carried members, a length of 0 for none.
    """

    def __init__(self, config: JobConfig, storage: Storage) -> None:
        self.storage, self.pattern = storage, config.source.pattern
        self.image = config.source.image or ""
        self.mask = config.mask.member if config.mask.kind == "member" else ""
        self.carried = config.sink.carry

    def files(self, left_out: LeftOut | None = None) -> list[StoredFile]:
        """See :class:`pipeline.sources.Source`."""
        left_out, files = left_out or LeftOut(), matching_files(self.storage, self.pattern)
        shards = sorted(left_out.sift(files, lambda key: key.endswith(SUFFIXES)))
        if not shards:
            there = left_out.there()
            raise ConfigError(f"no shard ({', '.join(SUFFIXES)}) below {self.storage} matches {self.pattern!r}{there}")
        return shards

    def samples(self, files: Iterable[StoredFile]) -> Iterator[Found]:
        """See :class:`pipeline.sources.Source`."""
        for found in self.storage.in_parallel(self._samples_in, files):
            version = counted(found[0].version, len(found)) if found else ""
            yield from (sample._replace(version=version) for sample in found)

    def _samples_in(self, shard: StoredFile) -> list[Found]:
        """Of one shard; one that breaks off is a failed sample of its own, behind those before that."""
        found = []
        try:
            with open_shard(self.storage, shard.key) as file:
                for members in read_members(file, shard):
                    found.append(self._sample(shard, members))
        except BROKEN as error:  # whatever else goes wrong stops the plan
            message = f"BrokenShard: {shard.key} cannot be read beyond {len(found)} samples: {error}"
            found.append(Found(shard.key, 0, shard.version, shard.key, fault=_as_text(message)))
        except FileNotFoundError:  # deleted since it was listed
            return []
        return found

    def _sample(self, shard: StoredFile, members: Members) -> Found:
        name = _as_text(f"{shard.key}/{members.key}")
        image = self._image(members.by_extension)
        if image is None:
            fault = _as_text(f"MissingImage: its members are {', '.join(sorted(members.by_extension))}")
            return Found(name, 0, shard.version, shard.key, fault=fault)
        nothing = (image[0], 0)  # in the place of what is not there
        others = [members.by_extension.get(extension, nothing) for extension in (self.mask, *self.carried)]
        place = [number for where in (image, *others) for number in where]
        has_mask = self.mask in members.by_extension
        return Found(name, sum(place[1::2]), shard.version, shard.key, place, has_mask, name_fault(name))

    def _image(self, members: Mapping[str, tuple[int, int]]) -> tuple[int, int] | None:
        if self.image:
            return members.get(self.image)
        plain = (at for name, at in members.items() if f".{name}" in IMAGE_EXTENSIONS and name != self.mask)
        return next(plain, None)


def _as_text(text: str) -> str:
    """Text with the bytes of names that are not UTF-8 escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def open_shard(storage: Storage, key: str) -> Iterator[IO[bytes]]:
    """A shard's decompressed bytes, read from front to back."""
    with storage.open(key, BLOCK_BYTES) as file:
        if key.endswith(".tar"):
            yield file
        else:
            with gzip.GzipFile(fileobj=file) as plain:
                yield plain  # type: ignore[misc]


def read_members(file: IO[bytes], shard: StoredFile) -> Iterator[Members]:
    """Members of a shard, sample by sample; links, folders and hidden files do not count.

    Raises:
        one of ``BROKEN``: not a tar file, cut short, or expanding without measure.
    """
    bound = None if shard.key.endswith(".tar") else max(LEAST_BOMB_BYTES, MOST_EXPANSION * shard.size_bytes)
    for key, group in groupby(_members(file, bound), key=lambda member: split_name(member.name)[0]):
        places: dict[str, tuple[int, int]] = {}
        for member in group:
            extension = split_name(member.name)[1].lower()
            if extension in places:  # another sample of the same name
                yield Members(key, places)
                places = {}
            places[extension] = (member.offset_data, member.size)
        yield Members(key, places)


class HeaderFile:
    """A shard of which headers alone are read, none of which may take much memory.

    Args:
        file: the shard, decompressed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int) -> bytes:
        """Read, as of a file.

        Raises:
            tarfile.ReadError: a header that is too long.
        """
        if size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of a member has {size} bytes, at most {MAX_HEADER_BYTES} are taken")
        return self._read(size)


def _members(file: IO[bytes], bound: int | None) -> Iterator[tarfile.TarInfo]:
    headers: Any = HeaderFile(file)
    with tarfile.open(fileobj=headers, mode="r:", errors="surrogateescape") as shard:
        for member in shard:
            shard.members = []  # type: ignore[attr-defined] # else it keeps all of them
            if member.size < 0:  # the next header would be one that was read before, for ever
                raise tarfile.ReadError(f"{member.name} has a size of {member.size} bytes")
            if bound is not None and member.offset_data + member.size > bound:
                raise tarfile.ReadError(
                    f"{member.name} lies {member.offset_data + member.size} bytes deep in a "
                    "compressed shard that has not a hundredth of them"
                )
            if member.isreg() and not member.name.rpartition("/")[2].startswith("."):
                yield member


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a member: the name is split at the first dot behind the last slash.

    >>> split_name("a.b/7.mask.png")
    ('a.b/7', 'mask.png')
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension
