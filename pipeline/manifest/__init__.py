"""The manifest: one row per sample, written once, by one run at a time."""
