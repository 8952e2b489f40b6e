"""Attributes of an exposure, and which steps it has passed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Status(dict[str, str]):
    """Status of steps by alias, which is also an attribute.

    Examples
    --------
    >>> status = Status(jump="SKIPPED")
    >>> status.ramp_fit = "COMPLETE"
    >>> status, status.jump
    ({'jump': 'SKIPPED', 'ramp_fit': 'COMPLETE'}, 'SKIPPED')
    """

    def __init__(self, *args: Any, **values: str) -> None:
        super().__init__(*args, **values)
        self.__dict__ = self


class Meta(dict[str, Any]):
    """Attributes of an exposure.

    Parameters
    ----------
    attributes : mapping, optional
        Attributes as they are stored.
    filename : str
        Name of a file for the exposure; after its number if not given.
    made_by : mapping, optional
        Records of the steps that made it, by alias.

    Attributes
    ----------
    cal_step : Status
        Status of the steps; the attribute ``cal_step`` of the exposure.

    Examples
    --------
    >>> meta = Meta({"exposure_number": 7, "exp_type": "SCI"})
    >>> meta["exp_type"], meta.filename, meta.cal_step
    ('SCI', 'exp_000007.asdf', {})
    """

    def __init__(
        self, attributes: Mapping[str, Any] | None = None, filename: str = "", made_by: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(attributes or {})
        number = self.get("exposure_number", 0)
        self.filename = filename or f"exp_{number if isinstance(number, int) else 0:06d}.asdf"
        self.made_by = dict(made_by or {})
        self["cal_step"] = Status(self.get("cal_step") or {})

    @property
    def cal_step(self) -> Status:
        """Status of the steps."""
        status: Status = self["cal_step"]
        return status

    def copy(self) -> Meta:
        """Copy the attributes; what they hold is shared, but for the status of the steps."""
        return Meta(self, self.filename, self.made_by)
