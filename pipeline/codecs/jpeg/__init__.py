"""JPEG: markers, segments, scans, pixels and settings."""
