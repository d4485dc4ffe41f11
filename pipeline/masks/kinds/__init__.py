"""Mask kinds, one file each; ``pipeline.masks.registry`` lists them."""
