"""Whose fault a failure is, and what workers report about themselves."""
