"""Fixtures of the pipeline's tests."""

from tests.pipeline.flow_here import here

__all__ = ["here"]
