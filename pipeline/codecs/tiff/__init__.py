"""TIFF: tags, bands, checks of damage, and a writer."""
