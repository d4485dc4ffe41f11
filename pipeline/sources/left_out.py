"""Counts files that are no samples, by kind, so that none is skipped silently."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from pipeline.codecs.identification.kinds import (
    HEIC_ADVICE,
    HEIC_EXTENSIONS,
    HIDDEN,
    heic_is_installed,
    is_hidden_folder,
    kind_of,
)
from pipeline.storage.storage import LINK_TO_NOTHING, StoredFile

KINDS = 20  # that are told, the most frequent ones
MAX_KINDS = 10_000  # that are held in memory
OTHER = "other"


class LeftOut:
    """Separates samples from other files and counts the latter.

    Args:
        ignored: folders, each with a trailing slash, whose files are neither: results and masks inside the source.
        leads_elsewhere: returns whether a folder is an ignored one through links.
    """

    def __init__(
        self, ignored: tuple[str, ...] = (), leads_elsewhere: Callable[[str], bool] = lambda folder: False
    ) -> None:
        self.ignored, self._leads_elsewhere = ignored, leads_elsewhere
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def sift(
        self,
        files: Iterable[StoredFile],
        is_taken: Callable[[str], bool],
        hidden: tuple[str, ...] = (".",),
    ) -> Iterator[StoredFile]:
        """Yield the files that are taken, and count all others as they pass.

        Args:
            files: of a listing.
            is_taken: whether a key is of the source's format.
            hidden: prefixes of names of files and folders that are always left out.
        """
        last_folder, in_hidden_folder, is_elsewhere = "", False, False
        for file in files:
            key = file.key
            if self.ignored and f"{key}/".startswith(self.ignored):
                continue
            end = key.rfind("/") + 1
            if (folder := key[:end]) != last_folder:  # a page of a listing has many files of one
                last_folder, in_hidden_folder = folder, is_hidden_folder(folder, hidden)
                is_elsewhere = self._leads_elsewhere(folder)
            if is_elsewhere:
                continue
            if in_hidden_folder or key.startswith(hidden, end):
                self.count(HIDDEN)
            elif file.version == LINK_TO_NOTHING:
                self.count(LINK_TO_NOTHING)
            elif is_taken(key):
                yield file
            else:
                self.count(kind_of(key))

    def count(self, kind: str, number: int = 1) -> None:
        """Count files of a kind; may be called from several threads."""
        if not number:
            return
        with self._lock:
            self._counts[kind if kind in self._counts or len(self._counts) < MAX_KINDS else OTHER] += number

    def by_kind(self) -> dict[str, int]:
        """Return the number of files per kind, most frequent first; rare kinds are summed as ``OTHER``."""
        ranked = sorted(self._counts.items(), key=lambda item: (item[0] == OTHER, -item[1], item[0]))
        counts, rest = dict(ranked[:KINDS]), ranked[KINDS:]
        if rest:
            counts[OTHER] = counts.get(OTHER, 0) + sum(count for _, count in rest)
        return counts

    def there(self) -> str:
        """Return the end of a message that nothing was found: what exists there instead."""
        found = describe_left_out(self.by_kind())
        return f"; left out: {found}" if found else ""


def describe_left_out(by_kind: Mapping[str, int]) -> str:
    """Describe in one line what was left out, and how to include it; empty if nothing was."""
    advice = "" if heic_is_installed() else f" ({HEIC_ADVICE})"
    return ", ".join(f"{count} {kind}{advice if kind in HEIC_EXTENSIONS else ''}" for kind, count in by_kind.items())
