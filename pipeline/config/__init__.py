"""The configuration of a job: its sections, checked when they are built."""
