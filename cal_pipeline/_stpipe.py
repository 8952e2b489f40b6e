"""Entry point of stpipe, which asks for the list of steps before ``strun`` reads its options."""

from __future__ import annotations

from cal_pipeline.registry import StepEntry, list_steps


def get_steps() -> list[StepEntry]:
    """List the pipelines and their steps; ``strun`` is taken over if it runs one of them."""
    from cal_pipeline.cli.strun import take_over

    steps = list_steps()
    take_over([name for step in steps for name in (step.class_name, step.class_alias)])
    return steps
