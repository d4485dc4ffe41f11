"""Samples in rows of Parquet files."""
