"""Database of observatories, reference atmospheres and selections."""
