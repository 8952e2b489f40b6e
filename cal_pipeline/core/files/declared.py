"""Reader of declared files: TOML whose tables, keys and values are checked against a declaration.

A declaration is a dataclass whose annotated fields are the keys of a table, or a `Table` of keys
and kinds where these are known at run time only::

    @dataclass(frozen=True)
    class Site:
        latitude_deg: Annotated[float, Number(at_least=-90.0, up_to=90.0)]
        altitude_m: Annotated[float, Number()] = 0.0

A field with a default is optional. Text after the kind is the key where its name is not that of
the field. The class itself is the kind of a nested table. ``ValueError`` from the constructor,
which checks what concerns several keys, starts with the name of a key.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import os
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

from cal_pipeline.core.errors import CalibrationError

T = TypeVar("T")


@dataclass(frozen=True)
class DeclaredFile:
    """File that is read, with class and title for its errors.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        Its content.
    error : type
        Class of the errors.
    title : str
        Kind of the file, with which messages start; may be empty.
    """

    path: Path
    content: bytes
    error: type[CalibrationError]
    title: str = ""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def sha256(self) -> str:
        """SHA-256 digest of the content."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Entry:
    """Entry of a declared file: a table or a value by its dotted name, or the file as a whole.

    Parameters
    ----------
    source : DeclaredFile
        The file.
    name : str
        Dotted name, such as ``frontend[0].name``; empty for the file itself.
    """

    source: DeclaredFile
    name: str = ""

    def key(self, name: str) -> Entry:
        """Return the entry under a key of this table."""
        return Entry(self.source, self.join_name(name))

    def item(self, index: int) -> Entry:
        """Return an item of this list."""
        return Entry(self.source, f"{self.name}[{index}]")

    def join_name(self, key: str) -> str:
        """Return the dotted name of a key of this table."""
        return f"{self.name}.{key}" if self.name else key

    def fault(self, text: str) -> CalibrationError:
        """Make an error from a text that names the entry itself."""
        return self.source.error(f"{_titled(self.source.title, self.source.path)}: {text}")

    def refusal(self, value: Any, expected: str) -> CalibrationError:
        """Make the error for a value that is not accepted."""
        return self.fault(f"{self.name} is {value!r}, expected {expected}")


class ValueKind(Protocol):
    """Kind of the value of a key."""

    def read(self, value: Any, at: Entry) -> Any:
        """Check a value and return it as a plain object; raise an error of the source's class."""


@dataclass(frozen=True)
class Text:
    """Text, not empty unless said otherwise.

    Parameters
    ----------
    expected : str
        Description for messages.
    empty : bool
        Whether empty text is accepted.
    """

    expected: str = "text"
    empty: bool = False

    def read(self, value: Any, at: Entry) -> str:
        """Return the text."""
        if not isinstance(value, str) or not (self.empty or value.strip()):
            raise at.refusal(value, self.expected)
        return value


PATTERN = Text("text; '*' stands for anything")
"""Pattern of names, compared by `matches_pattern`."""


@dataclass(frozen=True)
class FileBeside:
    """Name of a file in the folder of the declared file, without its suffix.

    Parameters
    ----------
    suffix : str
        Suffix of the file.
    """

    suffix: str

    def read(self, value: Any, at: Entry) -> str:
        """Return the name."""
        name = Text().read(value, at)
        file = at.source.path.parent / f"{name}{self.suffix}"
        if not file.is_file():
            raise at.refusal(value, f"the name of a file: there is no {file}")
        return name


@dataclass(frozen=True)
class Number:
    """Number within bounds.

    Parameters
    ----------
    above, at_least : float
        Lower bound, without or with the bound itself.
    up_to : float
        Upper bound.
    unit : str
        Unit, for messages.
    finite : bool
        Whether infinity is refused; NaN always is.
    as_written : bool
        Whether a whole number stays an int; a float otherwise.
    """

    above: float = -math.inf
    at_least: float = -math.inf
    up_to: float = math.inf
    unit: str = ""
    finite: bool = True
    as_written: bool = False

    def read(self, value: Any, at: Entry) -> float:
        """Return the number."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
        if not is_number or (self.finite and math.isinf(value)) or not self._holds(value):
            raise at.refusal(value, self._expected())
        return value if self.as_written else float(value)

    def _holds(self, value: float) -> bool:
        above = value > self.above or self.above == -math.inf
        return above and self.at_least <= value <= self.up_to

    def _expected(self) -> str:
        return (
            ("a finite number" if self.finite else "a number")
            + (f" above {self.above:g}" if math.isfinite(self.above) else "")
            + (f" from {self.at_least:g}" if math.isfinite(self.at_least) else "")
            + (f" up to {self.up_to:g}" if math.isfinite(self.up_to) else "")
            + (f" in {self.unit}" if self.unit else "")
        )


@dataclass(frozen=True)
class WholeNumber:
    """Whole number."""

    def read(self, value: Any, at: Entry) -> int:
        """Return the number."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise at.refusal(value, "a whole number")
        return value


@dataclass(frozen=True)
class TruthValue:
    """Truth value."""

    def read(self, value: Any, at: Entry) -> bool:
        """Return the value."""
        if not isinstance(value, bool):
            raise at.refusal(value, "true or false")
        return value


@dataclass(frozen=True)
class OneOf:
    """Text out of a few.

    Parameters
    ----------
    values : tuple of str
        Accepted texts.
    """

    values: tuple[str, ...]

    def read(self, value: Any, at: Entry) -> str:
        """Return the text."""
        if value not in self.values:
            raise at.refusal(value, " or ".join(map(repr, self.values)))
        return str(value)


@dataclass(frozen=True)
class Row:
    """List of numbers with a name each, such as ``[start, stop, step]``.

    Parameters
    ----------
    names : tuple of str
        Names of the numbers.
    of : Number
        Kind of each number.
    ascending : bool
        Whether each number is larger than the one before.
    """

    names: tuple[str, ...]
    of: Number
    ascending: bool = False

    def read(self, value: Any, at: Entry) -> tuple[float, ...]:
        """Return the numbers."""
        if isinstance(value, list) and len(value) == len(self.names):
            numbers = tuple(self.of.read(item, at) for item in value)
            if not self.ascending or all(low < high for low, high in pairwise(numbers)):
                return numbers
        raise at.refusal(value, f"[{', '.join(self.names)}]" + (f" in {self.of.unit}" if self.of.unit else ""))


def interval(of: Number) -> Row:
    """Declare an interval ``[lowest, highest]`` of numbers of a kind."""
    return Row(("lowest", "highest"), of, ascending=True)


@dataclass(frozen=True)
class Each:
    """List of values of one kind.

    Parameters
    ----------
    of : ValueKind
        Kind of the values.
    lone : bool
        Whether a single value needs no brackets.
    """

    of: ValueKind
    lone: bool = False

    def read(self, value: Any, at: Entry) -> tuple[Any, ...]:
        """Return the values."""
        if isinstance(value, list):
            return tuple(self.of.read(item, at.item(index)) for index, item in enumerate(value))
        if not self.lone:
            raise at.refusal(value, "a list in brackets")
        return (self.of.read(value, at),)


@dataclass(frozen=True)
class Tables:
    """Tables under one name, each of which starts with the name in double brackets.

    Parameters
    ----------
    of : type or Table
        Declaration of each.
    """

    of: type[Any] | Table[Any]

    def read(self, value: Any, at: Entry) -> tuple[Any, ...]:
        """Return the objects made of the tables."""
        if not isinstance(value, list):
            found = "one table" if isinstance(value, Mapping) else repr(value)
            raise at.fault(f"{at.name} is {found}, expected [[{at.name}]]")
        table = _as_table(self.of)
        return tuple(table.read(entry, at.item(index)) for index, entry in enumerate(value))


@dataclass(frozen=True)
class FileProperty:
    """Property of the file itself for a field that is no key.

    Parameters
    ----------
    name : str
        ``"name"`` or ``"sha256"``, of `DeclaredFile`.
    """

    name: str


@dataclass(frozen=True, eq=False)
class Table(Generic[T]):
    """Keys of a table, and the function that makes an object of their values.

    Parameters
    ----------
    keys : dict
        Kind of the value of each key.
    make : callable
        Function of the values by key (and of the facts) that returns the result.
    required : collection of str
        Keys that must be given.
    facts : dict
        Properties of the file that `make` takes, by argument.
    """

    keys: Mapping[str, ValueKind]
    make: Callable[..., T]
    required: Collection[str] = ()
    facts: Mapping[str, FileProperty] = field(default_factory=dict)

    def read(self, value: Any, at: Entry) -> T:
        """Check a table and make its object."""
        if not isinstance(value, Mapping):
            raise at.refusal(value, f"a table of {', '.join(sorted(self.keys))}")
        for key in value:
            if key not in self.keys:
                raise at.fault(f"{at.join_name(key)} is not known; {_suggest(key, self.keys)}")
        missing = [at.join_name(key) for key in self.keys if key in self.required and key not in value]
        if missing:
            raise at.fault(f"{', '.join(missing)} is missing")
        values = {key: self.keys[key].read(item, at.key(key)) for key, item in value.items()}
        facts = {name: getattr(at.source, fact.name) for name, fact in self.facts.items()}
        try:
            return self.make(**values, **facts)
        except ValueError as error:
            raise at.fault(at.join_name(str(error))) from error


def _suggest(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"expected {', '.join(sorted(known))}"


def make_table(declaration: type[T]) -> Table[T]:
    """Make the table that a dataclass declares."""
    hints = get_type_hints(declaration, include_extras=True)
    keys: dict[str, ValueKind] = {}
    facts: dict[str, FileProperty] = {}
    required: set[str] = set()
    arguments: dict[str, str] = {}
    for item in fields(declaration):  # type: ignore[arg-type]
        kind, *names = hints[item.name].__metadata__
        if isinstance(kind, FileProperty):
            facts[item.name] = kind
            continue
        key = names[0] if names else item.name
        keys[key] = _as_table(kind) if isinstance(kind, type) else kind
        arguments[key] = item.name
        if item.default is MISSING and item.default_factory is MISSING:
            required.add(key)

    def make(**values: Any) -> T:
        return declaration(**{arguments.get(key, key): value for key, value in values.items()})

    return Table(keys, make, required, facts)


def _as_table(declaration: type[T] | Table[T]) -> Table[T]:
    return declaration if isinstance(declaration, Table) else make_table(declaration)


def read_declared(
    path: str | PathLike[str], declaration: type[T] | Table[T], error: type[CalibrationError], title: str = ""
) -> T:
    """Read a declared file, once as long as it does not change.

    Parameters
    ----------
    path : path
        TOML file.
    declaration : type or Table
        Dataclass with annotated fields, or table, that declares the file's keys.
    error : type
        Class of the errors.
    title : str
        Kind of the file, with which messages start.

    Returns
    -------
    object
        Instance of the dataclass, or the object made by the table; shared by all readers of the file.

    Raises
    ------
    CalibrationError
        Of the class `error`, if the file cannot be read, lacks a key or holds an unknown key or a
        value that is not accepted. The message names file and key, what was found and expected,
        and the nearest known key.
    """
    # Asked for several times an observation, so without the objects of pathlib.
    name = os.fspath(path)
    if not os.path.isabs(name):
        name = os.path.join(os.getcwd(), name)
    try:
        changed = os.stat(name).st_mtime_ns
    except OSError as reason:
        raise error(f"{_titled(title, Path(name))} cannot be read: {reason}") from reason
    # Classes are hashable, which the annotations of lru_cache do not know.
    result: T = _read(name, changed, declaration, error, title)  # type: ignore[arg-type]
    return result


@lru_cache(maxsize=64)
def _read(
    name: str, mtime_ns: int, declaration: type[Any] | Table[Any], error: type[CalibrationError], title: str
) -> Any:
    path = Path(name)
    try:
        source = DeclaredFile(path, path.read_bytes(), error, title)
        tree = tomllib.loads(source.content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as reason:
        raise error(f"{_titled(title, path)} cannot be read: {reason}") from reason
    return _as_table(declaration).read(tree, Entry(source))


def _titled(title: str, path: Path) -> str:
    return f"{title} {path}" if title else str(path)


def matches_pattern(name: str | None, pattern: str) -> bool:
    """Tell whether a recorded name has a pattern with ``*`` for any text; case-insensitive.

    Parameters
    ----------
    name : str or None
        Name from the data; None, not recorded, has the pattern ``*`` alone.
    pattern : str
        Pattern from a declared file.

    Returns
    -------
    bool

    Examples
    --------
    >>> matches_pattern("chai_lfa", "CHAI*")
    True
    >>> matches_pattern(None, "CHAI*")
    False
    """
    return fnmatchcase((name or "").strip().upper(), pattern.upper())
