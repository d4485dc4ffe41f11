"""Evaluates fills: metrics, protocols, classical baselines."""
