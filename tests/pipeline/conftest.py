"""Fixtures of the pipeline's tests."""

from tests.pipeline.flow_here import here, model_here

__all__ = ["here", "model_here"]
