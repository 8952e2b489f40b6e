"""ASDF files: opened only if all that they hold is in them, written completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asdf

from cal_pipeline.core.files.replace import replace_file


@contextmanager
def open_asdf(path: str | Path, **settings: Any) -> Iterator[asdf.AsdfFile]:
    """Open an ASDF file that refers to nothing outside itself.

    Parameters
    ----------
    path : str or Path
        The file.
    **settings
        Settings of `asdf.open`.

    Yields
    ------
    asdf.AsdfFile

    Raises
    ------
    ValueError
        If it is no ASDF file, or has arrays in other files or at URLs.
    """
    refuse_external_arrays(path)
    with asdf.open(path, **settings) as file:
        yield file


def refuse_external_arrays(path: str | Path) -> None:
    """Refuse an ASDF file with arrays in other files or at URLs.

    asdf would fetch them without a word and without a time limit.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    ValueError
        If it has some, or its tree is no YAML; names the place.
    """
    try:
        tree = asdf.util.load_yaml(path, tagged=True)
    except OSError:
        raise
    except Exception as error:  # of whichever parser asdf has
        raise ValueError(" ".join(str(error).split())) from error
    seen: set[int] = set()
    nodes: list[Any] = [tree]
    while nodes:
        node = nodes.pop()
        # Anchors let a small file name the same node a billion times.
        if id(node) in seen or not isinstance(node, (dict, list)):
            continue
        seen.add(id(node))
        source = node.get("source") if isinstance(node, dict) else None
        if isinstance(source, str) and "ndarray" in getattr(node, "_tag", ""):
            raise ValueError(f"an array lies outside the file, at {source!r}; expected all arrays in it")
        nodes += node.values() if isinstance(node, dict) else node


def is_asdf(path: str | Path) -> bool:
    """Tell whether a file begins as ASDF files do."""
    with open(path, "rb") as file:
        return file.read(5) == b"#ASDF"


def write_asdf(path: str | Path, tree: Mapping[str, Any], **settings: Any) -> None:
    """Write an ASDF file completely or not at all; it replaces an older one.

    Parameters
    ----------
    path : str or Path
        The file; missing folders are made.
    tree : dict
        Its content.
    **settings
        Settings of `asdf.AsdfFile.write_to`.

    Raises
    ------
    OSError
        If it cannot be written; an older file stays as it was.
    """
    with replace_file(path) as unfinished, open(unfinished, "wb") as file:
        asdf.AsdfFile(dict(tree)).write_to(file, **settings)


def make_builtin(value: Any) -> Any:
    """Convert the containers of a tree to built-in ones."""
    if isinstance(value, Mapping):
        return {str(key): make_builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_builtin(item) for item in value]
    return value
