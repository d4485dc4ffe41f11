"""The interface of source formats.

Configurations load the file of their format, so it imports heavy packages only in the methods that use them.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.sources.base import Source
    from pipeline.sources.inputs import FormatReader
    from pipeline.sources.wanted import Wanted
    from pipeline.storage.storage import Storage


class SourceFormat(Protocol):
    """A source format.

    Attributes:
        is_sharded: files hold many samples; their names have no extension and may repeat.
        is_list: a table names the files; nothing else is listed.
        has_members: parts of a sample are named by extensions.
        counts_samples: a sample's version tells how many its shard has.
    """

    is_sharded: bool
    is_list: bool
    has_members: bool
    counts_samples: bool

    @staticmethod
    def find(wanted: "Wanted", storage: "Storage") -> "Source":
        """Open the finder of samples."""

    @staticmethod
    def read(wanted: "Wanted", storage: "Storage") -> "FormatReader":
        """Open the reader of samples."""
