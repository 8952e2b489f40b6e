"""Benchmarks of the package, run by asv; README.md tells how.

Modules are independent of the commit that they measure: they use public names of the package only, where they can, and
import them when they measure, so that asv finds benchmarks without them.
"""
