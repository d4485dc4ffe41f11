"""Results: single files, tar and Parquet shards."""
