"""Sources: find and read samples in folders, tar shards and Parquet files."""
