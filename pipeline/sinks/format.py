"""The interface of sink formats. Configurations load the file of their format."""

from collections.abc import Collection, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.records import Record


class Member(NamedTuple):
    """One result in a shard, which can be copied to another shard.

    Args:
        name: as in ``output_member`` of the manifest.
        content: the shard's data of it.
    """

    name: str
    content: Any


class ImageFiles:
    """``images``: one file per result.

    Attributes:
        is_sharded: many results share a file.
        carries_json: carried columns become members and JSON.
        own_columns: names that results have in a shard; empty where they are named by the format of their image.
    """

    is_sharded = False
    carries_json = False
    own_columns: tuple[str, ...] = ()


class Shard(Protocol):
    """A shard that is being written; the class is its format. Equal content must make equal bytes.

    Attributes:
        suffix: of the shard's name.
        one_schema: all samples of a shard carry columns of the same types.
        is_compressed: a shard may be smaller than its results.
    """

    is_sharded: bool
    carries_json: bool
    own_columns: tuple[str, ...]
    suffix: str
    one_schema: bool
    is_compressed: bool

    def __init__(self, file: IO[bytes]) -> None: ...

    def add(self, record: "Record", result: bytes, carried: "pa.RecordBatch") -> str:
        """Append a sample and return the name of its member.

        Raises:
            SampleError: a name or a carried value that the format cannot hold.
        """

    def take_over(self, member: Member) -> str:
        """Append a sample of another shard of this format and return the name that it has here."""

    def close(self) -> None:
        """Complete the file."""

    @staticmethod
    def read(file: IO[bytes], names: Collection[str] | None = None, with_image: bool = True) -> Iterator[Member]:
        """Yield the samples of a shard, all of them or those of some names.

        Args:
            file: the shard.
            names: of the wanted samples; others are skipped, as far as the format allows without reading them.
            with_image: whether the image is needed; members without it cannot be copied to another shard.
        """

    @staticmethod
    def image_of(member: Member) -> bytes:
        """Return the encoded image of a sample."""

    @staticmethod
    def carried_of(member: Member) -> Mapping[str, Any]:
        """Return the carried columns of a sample: scalars of Arrow, or text, bytes and values of JSON."""

    @staticmethod
    def carried_schema(file: IO[bytes]) -> "pa.Schema | None":
        """Return names and types of the carried columns; ``None`` where the format knows no types."""

    @staticmethod
    def read_image(file: IO[bytes], name: str) -> bytes | None:
        """Read the encoded image of one sample by the name of its member; ``None`` if there is none."""
