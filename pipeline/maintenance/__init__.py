"""Maintenance of a sink: repacking, vacuum, deletion, verification."""
