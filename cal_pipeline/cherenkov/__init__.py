"""Calibration of arrays of Cherenkov telescopes: atmosphere, array, camera, database."""
