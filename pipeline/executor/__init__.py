"""Executors: what a run's workers run on, Ray or this process."""
