"""``parquet``: shards of results as Parquet files."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.codecs.identification.kinds import split_extension
from pipeline.records import Record
from pipeline.sinks.format import Member

ROW_GROUP_ROWS, ROW_GROUP_BYTES = 100, 32 << 20  # what a reader must take at least, to see one image
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_IMAGE_COLUMN = "image"
_OWN = pa.schema([("sample_id", pa.string()), (_IMAGE_COLUMN, _IMAGE), ("width", pa.int32()), ("height", pa.int32())])
# With it, datasets.load_dataset shows the column as images.
_FEATURES = {b"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}}).encode()}


class ParquetShard:
    """Rows of ``sample_id``, ``image`` (bytes and path, as Hugging Face's), size, and the carried columns."""

    is_sharded = True
    carries_json = False
    own_columns = tuple(_OWN.names)
    suffix = ".parquet"
    one_schema = True
    is_compressed = True

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[pa.RecordBatch] = []
        self._row_count = self._waiting_bytes = 0

    def add(self, record: Record, result: bytes, carried: pa.RecordBatch) -> str:
        """Append a sample and return the number of its row."""
        path = f"{split_extension(record.sample_id)[0]}.{record.output_format}"
        own = (record.sample_id, {"bytes": result, "path": path}, record.width, record.height)
        columns = [pa.array([value], field.type) for value, field in zip(own, _OWN, strict=True)]
        schema = pa.schema([*carried.schema, *_OWN], _FEATURES)
        return self.take_over(Member("", pa.record_batch([*carried.columns, *columns], schema=schema)))

    def take_over(self, member: Member) -> str:
        """Append a row of another shard and return its number here."""
        self._rows.append(member.content)
        self._row_count += 1
        self._waiting_bytes += member.content.nbytes
        if len(self._rows) >= ROW_GROUP_ROWS or self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()
        return str(self._row_count - 1)

    def _flush(self) -> None:
        if not self._rows:
            return
        rows = pa.Table.from_batches(self._rows)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, rows.schema, compression="zstd", use_dictionary=False)
        self._writer.write_table(rows.combine_chunks())
        self._rows, self._waiting_bytes = [], 0

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()

    @staticmethod
    def read(file: IO[bytes], names: Collection[str] | None = None, with_image: bool = True) -> Iterator[Member]:
        """Yield rows of a shard; only row groups and columns that are needed are read."""
        parquet, first = pq.ParquetFile(file), 0
        columns = None if with_image else [name for name in parquet.schema_arrow.names if name != _IMAGE_COLUMN]
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            wanted = [row for row in range(count) if names is None or str(first + row) in names]
            if wanted:
                (batch,) = parquet.read_row_group(group, columns).combine_chunks().to_batches()
                yield from (Member(str(first + row), batch.slice(row, 1)) for row in wanted)
            first += count

    @staticmethod
    def image_of(member: Member) -> bytes:
        """Return the encoded image of a sample."""
        return member.content.column(_IMAGE_COLUMN)[0]["bytes"].as_py()

    @staticmethod
    def carried_of(member: Member) -> Mapping[str, Any]:
        """Return the carried columns of a sample as scalars."""
        row = member.content
        return {name: row[name][0] for name in row.schema.names if name not in _OWN.names}

    @staticmethod
    def carried_schema(file: IO[bytes]) -> pa.Schema:
        """Return names and types of the carried columns."""
        return pa.schema([field for field in pq.read_schema(file) if field.name not in _OWN.names])

    @staticmethod
    def read_image(file: IO[bytes], name: str) -> bytes | None:
        """Read the encoded image of one sample by the number of its row; ``None`` if it has none."""
        number = int(name)
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            if number < count:
                return parquet.read_row_group(group, [_IMAGE_COLUMN])[_IMAGE_COLUMN][number].as_py()["bytes"]
            number -= count
        return None
