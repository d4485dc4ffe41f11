"""Publishes the current results of a sink as a data set or table that others read."""
