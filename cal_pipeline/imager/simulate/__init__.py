"""Simulated visits of an infrared imager: exposures, reference files and truth."""
