"""Pipelines, one a file."""
