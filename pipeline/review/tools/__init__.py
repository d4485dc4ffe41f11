"""Tools for reviews: how each is given a sample, and how its verdicts are read."""
