"""Simulated inputs of the Cherenkov family, with the truth."""
