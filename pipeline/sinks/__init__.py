"""Sinks: store results as single files, tar shards or Parquet shards."""
