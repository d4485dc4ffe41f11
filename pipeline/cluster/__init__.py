"""The Ray cluster, and the supervision of its workers."""
