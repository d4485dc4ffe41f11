"""Benchmarks of the model without a pipeline: speed, operations and memory, beside the limits of the device."""
