"""WebP: chunks and settings."""
