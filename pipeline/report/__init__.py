"""A page about a sink: figures of its manifest, and pictures of some samples."""

KEY = "report.html"  # in the sink
