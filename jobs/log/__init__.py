"""The log of a job: its lines, its failed samples, its progress."""
