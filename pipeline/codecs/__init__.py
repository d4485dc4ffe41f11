"""Compressed images to pixels and back, with their metadata."""
