"""Formulas of the imager, as pure functions on arrays."""
