"""What a file is: by its name, its first bytes, and its header, which is checked against all limits."""
