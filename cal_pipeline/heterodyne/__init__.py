"""Heterodyne receivers: data, physics, references, simulator."""
