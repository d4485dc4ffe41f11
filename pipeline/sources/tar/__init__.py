"""Samples in WebDataset tar shards."""
