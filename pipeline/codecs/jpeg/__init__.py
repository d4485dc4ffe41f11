"""JPEG: segments, scans, pixels and settings."""
