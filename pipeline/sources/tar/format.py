"""``webdataset``: tar shards."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.sources.base import Source
    from pipeline.sources.inputs import FormatReader
    from pipeline.sources.wanted import Wanted
    from pipeline.storage.storage import Storage


class WebDataset:
    """Members of tar shards that share a key; see :class:`pipeline.sources.format.SourceFormat`."""

    is_sharded = True
    is_list = False
    has_members = True
    counts_samples = True

    @staticmethod
    def find(wanted: "Wanted", storage: "Storage") -> "Source":
        """Open the finder of samples."""
        from pipeline.sources.tar.source import TarShards

        return TarShards(wanted, storage)

    @staticmethod
    def read(wanted: "Wanted", storage: "Storage") -> "FormatReader":
        """Open the reader of samples."""
        from pipeline.sources.tar.reader import TarReader

        return TarReader(wanted, storage)
