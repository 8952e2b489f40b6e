"""Public names of the tools: commands, sections and keys of their configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SELF = "*"
"""Source of a tool whose section, as a whole, is its input."""


@dataclass(frozen=True)
class Tool:
    """Names by which the users of a configuration file know a step.

    Attributes
    ----------
    command : str
        Command, such as ``"calibpipe-calculate-macobac"``.
    section : str
        Section of its own in the configuration.
    source : str
        Key of the input, in the section or in one of `handlers`; empty if there is none; :data:`SELF` if the section
        is the input.
    handlers : mapping of str to mapping
        Further sections, at the top or inside the section, each with the parameters of its keys where these have
        other names; other keys are parameters as they stand.
    choice : str
        Parameter whose value names the only one of `handlers` to read; empty: all are read.
    common : str
        One of `handlers` whose keys count whichever is chosen.
    present : mapping of str to str
        Parameters that are true if a section of `handlers` is present.
    unused : frozenset of str
        Keys of the published package that have no meaning here; they are accepted with a warning.
    """

    command: str
    section: str
    source: str = ""
    handlers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    choice: str = ""
    common: str = ""
    present: Mapping[str, str] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()
