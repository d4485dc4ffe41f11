"""Groups members of tar shards by sample, and resolves links among them."""

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.sources.tar.headers import BROKEN, Bounds, BrokenHeaderError, read_headers

MAX_LINKS = 40  # one leading to the next
_WITHOUT_BYTES = (tarfile.DIRTYPE, b"D", b"V")  # folders, those of incremental archives, and the label of an archive
Location = tuple[int, int]  # start and length


@dataclass(frozen=True)
class Link:
    """A symbolic link; its target may come later in the shard.

    Args:
        path: of the link itself.
    """

    path: str


@dataclass(frozen=True)
class Refused:
    """A member that is no regular file.

    Args:
        fault: why, as ``Type: sentence``.
    """

    fault: str


Part = Location | Link | Refused


@dataclass
class Members:
    """Members of one sample.

    Args:
        key: path and name up to the first dot of the name.
        by_extension: location of each member, by the part of its name after that dot.
        is_last: whether members may be missing because the shard is truncated here.
    """

    key: str
    by_extension: dict[str, Part] = field(default_factory=dict)
    is_last: bool = False


class Tree:
    """The files of a shard by path, as unpacking would create them."""

    def __init__(self) -> None:
        self._files: dict[str, Location | Refused] = {}
        self._links: dict[str, str] = {}

    def add(self, member: tarfile.TarInfo) -> Part:
        """Add a file or a link, replacing one of the same name, and return its location."""
        path = posixpath.normpath(member.name).lstrip("/")
        if member.islnk():
            target = posixpath.normpath(member.linkname).lstrip("/")
            if target not in self._links:
                return self._put(path, self._files.get(target) or _broken_link(member.name, member.linkname))
            member.linkname, member.type = self._links[target], tarfile.SYMTYPE  # one more name of that link
        if member.issym():
            self._files.pop(path, None)
            self._links[path] = member.linkname
            return Link(path)
        return self._put(path, _locate(member))

    def _put(self, path: str, file: Location | Refused) -> Location | Refused:
        self._links.pop(path, None)
        self._files[path] = file
        return file

    def find(self, part: Part) -> Location | Refused:
        """Return the location of a member's bytes, once all members have been added."""
        if not isinstance(part, Link):
            return part
        broken = _broken_link(part.path, self._links.get(part.path, ""))
        left, folder, link_count = part.path.split("/")[::-1], list[str](), 0
        while left:
            name = left.pop()
            if name == "..":
                if not folder:
                    return broken
                folder.pop()
            elif name not in ("", "."):
                target = self._links.get("/".join([*folder, name]))
                link_count += target is not None
                if target is None:
                    folder.append(name)
                elif target.startswith("/") or link_count > MAX_LINKS:
                    return broken
                else:
                    left += target.split("/")[::-1]
        return self._files.get("/".join(folder)) or broken


def _locate(member: tarfile.TarInfo) -> Location | Refused:
    if member.issparse():
        return Refused(f"UnsupportedMember: {member.name} is a sparse file, which is not supported")
    if not member.isreg():
        return Refused(f"UnsupportedMember: {member.name} is not a file, but a member of type {member.type!r}")
    return member.offset_data, member.size


def _broken_link(name: str, target: str) -> Refused:
    return Refused(
        f"BrokenLink: {name} is a link to {target}, which is not a file of this shard (an earlier one, for hard links)"
    )


def read_members(file: Any, bounds: Bounds, tree: Tree, matters: Callable[[str], bool]) -> Iterator[Members]:
    """Yield the members of a shard, sample by sample, without folders and hidden files.

    Args:
        file: the shard, decompressed.
        bounds: limits of offsets.
        tree: receives all files and links.
        matters: returns whether an extension is needed; links, devices and the like of others are skipped.

    Raises:
        UnmarkedEndError: see :func:`pipeline.sources.tar.headers.read_headers`.
        one of ``BROKEN``: not a tar file, damaged, truncated, or expanding beyond the limit.
    """
    members, archive = None, 0
    try:
        for header in read_headers(file, bounds):
            name, kind = header.member.name, header.member.type
            if kind in _WITHOUT_BYTES:
                continue
            part = tree.add(header.member)
            key, extension = split_name(name)
            if name.rpartition("/")[2].startswith(".") or not (header.member.isreg() or matters(extension)):
                continue
            if members and ((header.archive, key) != (archive, members.key) or extension in members.by_extension):
                yield members  # the same extension once more is that of another sample of the same name
                members = None
            members, archive = members or Members(key), header.archive
            members.by_extension[extension] = part
    except BROKEN as error:
        if members and not (isinstance(error, BrokenHeaderError) and error.spoils_last):
            members.is_last = True
            yield members
        raise
    if members:
        yield members


def split_name(name: str) -> tuple[str, str]:
    """Split a member's name at the first dot after the last slash into key and lower-case extension.

    >>> split_name("a.b/7.mask.PNG")
    ('a.b/7', 'mask.png')
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()
