"""Pure functions on arrays: no I/O, no Step, no Zarr, no configuration."""
