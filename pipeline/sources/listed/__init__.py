"""Lists of files: Parquet, CSV and JSON lines that name images, and inventories of S3."""
