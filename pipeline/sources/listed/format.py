"""``list``: files that a table names."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.sources.base import Source
    from pipeline.sources.inputs import FormatReader
    from pipeline.sources.wanted import Wanted
    from pipeline.storage.storage import Storage


class FileList:
    """Files named by a table; see :class:`pipeline.sources.format.SourceFormat`."""

    is_sharded = False
    is_list = True
    has_members = False
    counts_samples = False

    @staticmethod
    def find(wanted: "Wanted", storage: "Storage") -> "Source":
        """Open the finder of samples."""
        from pipeline.sources.listed.source import ListedFiles

        return ListedFiles(wanted, storage)

    @staticmethod
    def read(wanted: "Wanted", storage: "Storage") -> "FormatReader":
        """Open the reader of samples."""
        from pipeline.sources.listed.reader import ListedReader

        return ListedReader(wanted, storage)
