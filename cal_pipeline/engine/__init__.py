"""How scans are run: order, block streaming, failures, progress."""
