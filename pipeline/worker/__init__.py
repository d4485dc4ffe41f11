"""A worker: reads, decodes, repaints, encodes and writes units of samples."""
