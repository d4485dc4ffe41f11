"""Registry of source formats: finders and readers of samples."""

from pipeline.config.job import JobConfig
from pipeline.sources.base import ImageFolder, Source
from pipeline.sources.inputs import FileReader, FormatReader
from pipeline.sources.parquet_reader import ParquetReader
from pipeline.sources.parquet_source import ParquetRows
from pipeline.sources.tar_reader import TarReader
from pipeline.sources.tar_source import TarShards
from pipeline.storage.storage import Storage

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
    """Create the finder of samples of a job's source."""
    return _SOURCES[config.source.format](config, storage)


def open_reader(config: JobConfig, storage: Storage) -> FormatReader:
    """Create the reader of samples of a job's source."""
    return _READERS[config.source.format](config, storage)
