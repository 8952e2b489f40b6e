"""Entry point of ASDF; light, for every program that opens an ASDF file imports it."""

from __future__ import annotations

import sys
from typing import Any


def list_extensions() -> list[Any]:
    """List our extensions of ASDF: none.

    The first file that ``strun`` opens may be a parameter file that cannot be read, and says so
    with a traceback unless its command line is taken over before.
    """
    if "stpipe._cli.strun" in sys.modules:
        from cal_pipeline._stpipe import get_steps

        get_steps()
    return []
