"""Registry of sink formats: one line and one file each."""

from pipeline.registry import Registry

SINK_FORMATS = Registry(
    "pipeline.sinks",
    {
        "images": "format.ImageFiles",
        "webdataset": "tar_shard.TarShard",
        "parquet": "parquet_shard.ParquetShard",
    },
)
