"""A function of the benchmarks in a process of its own: `python child.py MODULE FUNCTION ARGUMENTS...`.

The package `benchmarks` is imported from its folder alone: a path to the folder above would import the `cal_pipeline`
of this checkout, and not the one that is installed and measured.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]


class Child:
    """A process in which a function answers each line that it reads from standard input."""

    def __init__(self, function: Any, *arguments: object) -> None:
        command = [sys.executable, __file__, function.__module__, function.__name__, *map(str, arguments)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def ask(self) -> Any:
        """Let the function answer once more; its answer is JSON."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the input, and wait for the process."""
        self._process.communicate()


def main(module: str, function: str, *arguments: str) -> None:
    """Import the package from its folder and call one of its functions."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE.name, PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE.name] = package
    spec.loader.exec_module(package)
    getattr(importlib.import_module(module), function)(*arguments)


if __name__ == "__main__":
    # The folder of this file has modules that are meant to be found within the package only.
    sys.path.pop(0)
    main(*sys.argv[1:])
