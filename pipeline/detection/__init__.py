"""Detectors of what is to be filled, in the pixels of a photo; ``detector`` opens them by mask kind."""
