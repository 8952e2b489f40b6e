"""Ingest of a telescope's FITS files: from files and a declared profile to L0."""
