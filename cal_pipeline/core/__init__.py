"""Framework of calibration pipelines, without knowledge of any instrument."""
