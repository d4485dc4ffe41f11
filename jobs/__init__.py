"""Entry points: arguments → configuration → one call."""
