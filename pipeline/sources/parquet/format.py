"""``parquet``: rows of Parquet files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.sources.base import Source
    from pipeline.sources.inputs import FormatReader
    from pipeline.sources.wanted import Wanted
    from pipeline.storage.storage import Storage


class Parquet:
    """Rows of Parquet files; see :class:`pipeline.sources.format.SourceFormat`."""

    is_sharded = True
    is_list = False
    has_members = False
    counts_samples = False

    @staticmethod
    def find(wanted: "Wanted", storage: "Storage") -> "Source":
        """Open the finder of samples."""
        from pipeline.sources.parquet.source import ParquetRows

        return ParquetRows(wanted, storage)

    @staticmethod
    def read(wanted: "Wanted", storage: "Storage") -> "FormatReader":
        """Open the reader of samples."""
        from pipeline.sources.parquet.reader import ParquetReader

        return ParquetReader(wanted, storage)
