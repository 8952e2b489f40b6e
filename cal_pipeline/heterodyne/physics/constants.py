"""Physical constants (CODATA 2018, exact by definition of the SI) and conventional numbers."""

PLANCK = 6.62607015e-34
"""Planck constant h [J s]."""

BOLTZMANN = 1.380649e-23
"""Boltzmann constant k [J/K]."""

T_CMB = 2.725
"""Temperature of the cosmic microwave background [K]."""

TORR = 101325.0 / 760.0
"""One Torr [Pa]."""

SECONDS_A_DAY = 86400.0
"""Seconds of a day of the Modified Julian Date [s/d]."""
