"""Registry of the formats of exports: one line and one file each."""

from pipeline.registry import Registry

EXPORT_FORMATS = Registry(
    "pipeline.export",
    {
        "parquet": "parquet_folder.ParquetFolder",
        "hf": "hub_dataset.HubDataset",
        "delta": "delta_table.DeltaTarget",
        "iceberg": "iceberg_table.IcebergTarget",
        "lance": "lance_dataset.LanceTarget",
    },
)
