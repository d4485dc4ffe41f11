"""Logs of a run: rows of figures, grids of samples, TensorBoard, progress."""
