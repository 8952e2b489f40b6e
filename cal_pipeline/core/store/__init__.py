"""Stores: locations, Zarr arrays, staging, products, comparison."""
