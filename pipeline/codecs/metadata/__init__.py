"""Metadata of results: kept, marked as partly generated, or reduced to what its pixels need."""
