"""What keeps a sink tidy: repacking, vacuum, deletion, verification."""
