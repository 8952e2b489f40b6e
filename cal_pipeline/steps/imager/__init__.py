"""Steps of the infrared imager, from ramps to mosaics."""
