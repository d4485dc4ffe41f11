"""Registry of source formats: one line and one file each."""

from pipeline.registry import Registry

SOURCE_FORMATS = Registry(
    "pipeline.sources",
    {
        "images": "images.Images",
        "webdataset": "tar.format.WebDataset",
        "parquet": "parquet.format.Parquet",
        "list": "listed.format.FileList",
    },
)
