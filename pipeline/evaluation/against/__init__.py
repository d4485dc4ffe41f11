"""Fills of other programs and models, measured beside ours; ``specs`` opens them."""
