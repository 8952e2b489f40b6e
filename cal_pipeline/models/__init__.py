"""What travels between steps: the names and units, scans and sessions, the L1 product."""
