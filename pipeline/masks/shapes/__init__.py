"""Objects in tables, as detectors and labelling tools write them."""
