"""Pictures of what was calibrated."""
