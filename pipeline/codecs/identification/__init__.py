"""The kind of a file, by its name, its first bytes and its header; the header is checked against all limits."""
