"""Steps of the Cherenkov family, one a file."""
