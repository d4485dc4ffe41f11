"""Files of labelling tools, one beside each image."""
