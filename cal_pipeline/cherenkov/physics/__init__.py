"""Formulas of the Cherenkov family, as functions of arrays."""
