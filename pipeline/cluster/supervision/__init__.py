"""Supervision of workers: passes over samples, whose fault a failure is, and time-outs."""
