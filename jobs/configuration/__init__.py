"""YAML files and overrides, read into the dataclasses of a job."""
