"""What can be a source, and who finds and who reads its samples."""

from pipeline.config import JobConfig
from pipeline.inputs import FileReader, FormatReader
from pipeline.parquet_reader import ParquetReader
from pipeline.parquet_source import ParquetRows
from pipeline.sources import ImageFolder, Source
from pipeline.storage import Storage
from pipeline.tar_reader import TarReader
from pipeline.tar_source import TarShards

_SOURCES: dict[str, type[ImageFolder] | type[TarShards] | type[ParquetRows]] = {
    "images": ImageFolder,
    "webdataset": TarShards,
    "parquet": ParquetRows,
}
_READERS: dict[str, type[FileReader] | type[TarReader] | type[ParquetReader]] = {
    "images": FileReader,
    "webdataset": TarReader,
    "parquet": ParquetReader,
}


def open_source(config: JobConfig, storage: Storage) -> Source:
    """What finds the samples of a job's source."""
    return _SOURCES[config.source.format](config, storage)


def open_reader(config: JobConfig, storage: Storage) -> FormatReader:
    """What reads the samples of a job's source."""
    return _READERS[config.source.format](config, storage)
