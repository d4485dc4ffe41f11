"""Masks of every kind, paired with images and drawn."""
