"""Lists buckets page by page, large folders of them at once."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem

from pipeline.storage.gather import Branches, gather

FOLDERS_AT_ONCE = 16  # are listed
MAX_FOLDERS_IN_PAGE = 10  # if a page of keys has more, one request per folder would cost more than it saves
Page = Mapping[str, Any]  # an answer of the server
Item = tuple[str, Mapping[str, Any]]  # path and facts of an object


class _Folder(NamedTuple):
    """A prefix to list.

    Args:
        prefix: of the keys, empty or with a trailing slash.
        seen: keys that were listed before.
    """

    prefix: str
    seen: frozenset[str] = frozenset()


def list_objects(filesystem: AbstractFileSystem, folder: str) -> Iterator[Item]:
    """Yield path and facts of every object below ``bucket/prefix``; s3fs would hold all of them in memory.

    What fits into one page takes one request. Beyond it, folders are found by their common prefix and listed by
    several threads, as long as each has many objects; a flat folder is listed page by page.
    """
    bucket, _, prefix = folder.partition("/")
    listing = _Listing(filesystem, bucket)
    top = f"{prefix}/" if prefix else ""
    first = listing.page(top)
    yield from listing.objects(first, frozenset())
    if not first.get("IsTruncated"):
        return
    if not _has_large_folders(first, top):
        for page in listing.pages_after(first, top):
            yield from listing.objects(page, frozenset())
        return
    seen = frozenset(item["Key"] for item in first["Contents"])
    for items in gather([_Folder(top, seen)], listing.below, FOLDERS_AT_ONCE):
        yield from items


class _Listing:
    """Requests for the pages of one bucket; used by several threads.

    Args:
        filesystem: of s3fs.
        bucket: its name.
    """

    def __init__(self, filesystem: AbstractFileSystem, bucket: str) -> None:
        self._filesystem, self._bucket = filesystem, bucket

    def page(self, prefix: str, **request: str) -> Page:
        """Return one page of the keys that begin with a prefix."""
        answer: Page = self._filesystem.call_s3("list_objects_v2", Bucket=self._bucket, Prefix=prefix, **request)
        return answer

    def pages_after(self, page: Page, prefix: str, **request: str) -> Iterator[Page]:
        """Yield the pages that follow one."""
        while page.get("IsTruncated"):
            page = self.page(prefix, ContinuationToken=page["NextContinuationToken"], **request)
            yield page

    def objects(self, page: Page, seen: frozenset[str]) -> list[Item]:
        """Return the objects of a page; some tools store empty ones for folders."""
        return [
            (f"{self._bucket}/{item['Key']}", {"size": item["Size"], "ETag": item.get("ETag"), **item})
            for item in page.get("Contents", [])
            if (item["Size"] or not item["Key"].endswith("/")) and item["Key"] not in seen
        ]

    def below(self, folder: _Folder, others: Branches[_Folder]) -> Iterator[list[Item]]:
        """Yield the objects below a folder by pages; leave folders in it to other threads where these have too few."""
        prefix, seen = folder
        first = self.page(prefix)
        yield self.objects(first, seen)
        if others.are_few and first.get("IsTruncated") and _has_large_folders(first, prefix):
            seen |= {item["Key"] for item in first["Contents"]}
            yield from self._split(_Folder(prefix, seen), others)
            return
        for page in self.pages_after(first, prefix):
            yield self.objects(page, seen)

    def _split(self, folder: _Folder, others: Branches[_Folder]) -> Iterator[list[Item]]:
        """Yield the objects directly in a folder and offer the folders in it; those that nobody takes are listed."""
        prefix, seen = folder
        first = self.page(prefix, Delimiter="/")
        for page in (first, *self.pages_after(first, prefix, Delimiter="/")):
            yield self.objects(page, seen)
            for inner in (_Folder(found["Prefix"], seen) for found in page.get("CommonPrefixes", [])):
                if not others.offer(inner):
                    yield from self.below(inner, others)


def _has_large_folders(page: Page, prefix: str) -> bool:
    """Return whether the first keys below a prefix lie in few folders."""
    rests = (item["Key"][len(prefix) :].partition("/") for item in page["Contents"])
    return 0 < len({name for name, slash, _ in rests if slash}) <= MAX_FOLDERS_IN_PAGE
