"""Marks that the user owns: placed, found and computed out of photos."""
