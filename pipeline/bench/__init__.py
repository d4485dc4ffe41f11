"""Benchmarks of planning, flow, jobs and reports."""
