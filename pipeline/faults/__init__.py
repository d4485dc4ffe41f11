"""Attributes failures to samples, workers or storages, and collects reports of workers."""
