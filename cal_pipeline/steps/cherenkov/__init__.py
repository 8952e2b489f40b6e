"""Steps of the Cherenkov family, one a file."""

from cal_pipeline.steps.cherenkov.macobac import MacobacStep

__all__ = ["MacobacStep"]
