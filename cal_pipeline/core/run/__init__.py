"""Running a calibration: workers, block stream, threads, progress."""
