"""Registry of the formats of exports: one line and one file each."""

from pipeline.registry import Registry

BYTES, REFERENCES = IMAGES = ("bytes", "references")  # what rows hold of a result: its file, or where that is

EXPORT_FORMATS = Registry(
    "pipeline.export",
    {
        "parquet": "parquet_folder.ParquetFolder",
        "imagefolder": "image_folder.ImageFolder",
        "hf": "hub_dataset.HubDataset",
        "delta": "delta_table.DeltaTarget",
        "iceberg": "iceberg_table.IcebergTarget",
        "lance": "lance_dataset.LanceTarget",
    },
)
