"""Classes that parameter files name: checked by name, never imported unless they are ours."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from typing import Any

from stpipe import utilities

from cal_pipeline.core.parameters.messages import TRUST_ADVICE, ParameterError
from cal_pipeline.core.parameters.values import show_value


def check_class(config: Mapping[str, Any], cls: type, where: str, advice: str = "") -> None:
    """Refuse a section of parameters that names the class of another step.

    stpipe does not look at the class that a step of a pipeline is said to have.

    Raises
    ------
    ParameterError
        If it has another name, or is of a package that the class has nothing to do with.
    """
    given = str(config.get("class") or "")
    names = [name for base in _own_bases(cls) for name in (base.__name__, getattr(base, "class_alias", None)) if name]
    if not given or (given.replace("::", ".").rpartition(".")[2] in names and is_own_class(given, cls)):
        return
    hint = difflib.get_close_matches(given.rpartition(".")[2], names, n=1)
    meant = f"; did you mean {f'{cls.__module__}.{cls.__name__}'!r}?" if hint else ""
    raise ParameterError(
        f"{where}: class {given!r} is not that of this step, {cls.__module__}.{cls.__name__}{meant or advice}"
    )


def is_own_class(given: str, cls: type) -> bool:
    """Tell whether the name of a class in a file belongs to the package of a class or of its bases.

    Parameters
    ----------
    given : str
        Name of the class, with its modules or its package (``package::alias``), or an alias.
    cls : type
        The class that is expected, or a base of it.

    Examples
    --------
    >>> from cal_pipeline import CalibrationPipeline
    >>> is_own_class("cal_pipeline.steps.LoadsStep", CalibrationPipeline)
    True
    >>> is_own_class("evil.Evil", CalibrationPipeline)
    False
    """
    root = given.replace("::", ".").partition(".")[0]
    return root == given or root in {_package(base) for base in _own_bases(cls)}


def _own_bases(cls: type) -> list[type]:
    """Return a class and its bases, without those of stpipe and Python."""
    return [base for base in cls.__mro__ if _package(base) not in ("stpipe", "builtins", "abc")]


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def find_class(given: str, cls: type, config_file: str | None, allowed: bool = False) -> type:
    """Find the class that a parameter file names; nothing foreign is imported.

    A foreign class that is loaded already, such as one that is derived from ours, is accepted. The
    folder of the file is searched for modules only if the user allows code.

    Parameters
    ----------
    given : str
        Name of the class.
    cls : type
        Base that it must have.
    config_file : str or None
        The file.
    allowed : bool
        Whether the user allows code.

    Raises
    ------
    ParameterError
        If it is foreign and not loaded, or not derived from `cls`.
    """
    full_name = utilities.resolve_step_class_alias(given)
    module, _, name = full_name.strip().rpartition(".")
    where = f"parameter file {config_file}: class = {show_value(given)}"
    found = getattr(sys.modules.get(module), name, None)
    if found is None:
        if not (allowed or is_own_class(full_name, cls)):
            raise ParameterError(f"{where} is not of this package, and importing it runs code; {TRUST_ADVICE}")
        try:
            found = utilities.import_class(full_name, config_file=config_file if allowed else None)
        except (ImportError, AttributeError, TypeError) as error:
            raise ParameterError(f"{where} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, cls)):
        raise ParameterError(f"{where} is no {cls.__name__} nor derived from one")
    return found
