"""L0 sessions with a known sky."""
