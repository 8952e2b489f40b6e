"""Execution of scans: order, block streaming, failures, progress."""
