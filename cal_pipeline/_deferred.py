"""Packages that a library imports and we hardly ever use: loaded when something of them is used.

stpipe imports the client of a server for reference files (`crds`), and that all of requests and of the
FITS reader of astropy. numba imports `scipy.linalg` to find out whether there is a BLAS, and the parser
of C that belongs to `cffi`. This takes as long as all the rest of a start. Here such an import makes
the module and runs its code at the first access to an attribute, as :class:`importlib.util.LazyLoader`
does, but not for attributes that the import of its submodules needs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

DEFERRED = {
    "crds": "stpipe",
    "crds.core.heavy_client": "stpipe",
    "pycparser": "cffi.cparser",
    "scipy.linalg": "numba.np.arraymath",
}
"""Deferred modules, and the module in the course of whose import they are; whoever else imports one gets it at once."""


class _DeferredModule(ModuleType):
    """Module of which the code has not run yet."""

    def __getattr__(self, name: str) -> Any:
        # Called for attributes that are not there yet. Its own code, while it runs, finds what it has defined.
        lock = _locks[self.__name__]
        with lock:
            if type(self) is _DeferredModule and self.__name__ not in _running:
                _running.add(self.__name__)
                try:
                    _loaders[self.__name__].exec_module(self)
                    self.__class__ = ModuleType  # type: ignore[assignment]
                finally:
                    _running.discard(self.__name__)
        return ModuleType.__getattribute__(self, name)


_locks: dict[str, threading.RLock] = {}
_loaders: dict[str, Any] = {}
_running: set[str] = set()


class _DeferringLoader:
    """Loader that makes a module, and leaves its code to the first access."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module as its own loader does."""
        made: ModuleType | None = self.loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing yet."""
        name = module.__name__
        _locks[name], _loaders[name] = threading.RLock(), self.loader
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        module.__class__ = _DeferredModule


class _Finder:
    """Finder of the modules that are deferred."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module in the usual ways, and defer it; None for others."""
        importer = sys.modules.get(DEFERRED.get(name, ""))
        if not getattr(getattr(importer, "__spec__", None), "_initializing", False):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _DeferringLoader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


def install() -> None:
    """Defer these modules in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
