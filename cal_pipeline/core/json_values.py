"""Values as JSON holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_PLAIN = frozenset({str, int, bool, type(None)})
"""Types that JSON holds as they are."""


def make_json_ready(value: Any) -> Any:
    """Convert a value to plain JSON types; numbers that are not finite become None."""
    # Attributes are hundreds of plain values, which must not be asked whether they are mappings first.
    if type(value) in _PLAIN:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): make_json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [make_json_ready(item) for item in value]
    if isinstance(value, np.ndarray):
        return make_json_ready(value.tolist())
    if isinstance(value, np.generic):
        return make_json_ready(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
