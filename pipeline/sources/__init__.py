"""What there is to do: samples in folders, tar shards and Parquet, found and read."""
