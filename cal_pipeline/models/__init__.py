"""Data model: names and units, sessions and scans, the L1 product."""
