"""PNG: chunks, metadata and checks of damage."""
