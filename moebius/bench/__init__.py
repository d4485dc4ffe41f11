"""Figures of the model alone: speed, operations, memory and how near they come to what the device can do."""
