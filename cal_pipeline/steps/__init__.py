"""The calibration steps, one a file."""
