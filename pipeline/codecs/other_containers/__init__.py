"""Containers with one file each: BMP, PPM, and the boxes of AVIF and HEIC."""
