"""Compares the source with the manifest and hands out the samples to process."""
