"""Connections to the database: SQLite files and PostgreSQL servers, transactions, tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from cal_pipeline.cherenkov.database.location import hide_password
from cal_pipeline.cherenkov.database.tables import Base
from cal_pipeline.cherenkov.errors import ConfigurationError, StorageError
from cal_pipeline.cherenkov.extras import import_extra

INIT_COMMAND = "calibpipe-init-db"
"""Command that makes the tables."""

_WRITES = "cal_pipeline_writes"
"""Option of a connection whose transactions write."""

_LOCK = 0x63616C6962706970
"""Key of the lock that transactions hold while they write to a PostgreSQL server."""

_PATIENCE = 30
"""Time to wait for others that write [s]."""


def make_engine(url: str) -> Engine:
    """Make the engine of a database, without connecting to it.

    Parameters
    ----------
    url : str
        URL for SQLAlchemy.

    Returns
    -------
    Engine
        It enforces foreign keys, and lets transactions that write wait for each other.

    Raises
    ------
    ConfigurationError
        If the URL is none, names another kind of database, or its driver is not installed.
    """
    parsed = _parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": _PATIENCE})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        import_extra("psycopg")
    except ImportError as error:
        raise ConfigurationError(f"psycopg cannot be used: {_summarize(error)}") from error
    engine = create_engine(parsed, poolclass=NullPool, connect_args={"connect_timeout": _PATIENCE})
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigurationError(
            f"database {hide_password(url)} has no URL that SQLAlchemy knows; expected sqlite:///FILE or "
            "postgresql+psycopg://USER@HOST/DATABASE"
        ) from error
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigurationError(
            f"database {hide_password(url)}: {parsed.drivername} is not supported; expected sqlite or "
            "postgresql+psycopg"
        )
    if parsed.drivername == "postgresql+psycopg" and "@" in f"{parsed.host}{parsed.database}":
        # Messages would show the end of the password as a host or database.
        raise ConfigurationError(
            f"database {hide_password(url)}: the password has /, : or @; expected them encoded (%2F, %3A, %40), or the "
            "keys user and password of database_configuration"
        )
    return parsed


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # The driver's own transactions begin too late to lock before reading; `_begin_sqlite` begins them.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # Two that read first and write then would block each other: the lock is taken at once.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if _writes(connection):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(_WRITES))


@contextmanager
def begin_transaction(engine: Engine, writes: bool = False) -> Iterator[Session]:
    """Begin a transaction, which is committed at the end of the block, or rolled back after an error.

    Parameters
    ----------
    engine : Engine
        The database.
    writes : bool
        Wait for others that write, and let others wait.

    Yields
    ------
    Session

    Raises
    ------
    StorageError
        If the database cannot be reached or refuses a statement.
    """
    bound = engine.execution_options(**{_WRITES: writes})
    try:
        with Session(bound, expire_on_commit=False) as session, session.begin():
            yield session
    except SQLAlchemyError as error:
        raise StorageError(
            f"database {describe(engine)}: {_summarize(getattr(error, 'orig', None) or error)}"
        ) from error


def describe(engine: Engine) -> str:
    """Describe a database by its URL without the password."""
    return hide_password(engine.url.render_as_string(hide_password=True))


def _summarize(error: BaseException) -> str:
    """Return the first line of a message, without statements and their values."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def find_missing_tables(session: Session) -> list[str]:
    """Find the tables that a database lacks."""
    present = set(inspect(session.connection()).get_table_names())
    return [table.name for table in Base.metadata.sorted_tables if table.name not in present]


def make_tables(engine: Engine) -> list[str]:
    """Make the tables that a database lacks; others stay as they are.

    Parameters
    ----------
    engine : Engine
        The database.

    Returns
    -------
    list of str
        Names of the tables that were made.

    Raises
    ------
    StorageError
        If the database cannot be reached, or refuses.
    """
    with begin_transaction(engine, writes=True) as session:
        missing = find_missing_tables(session)
        Base.metadata.create_all(session.connection(), tables=[Base.metadata.tables[name] for name in missing])
    return missing


def require_tables(engine: Engine) -> None:
    """Refuse a database that is not there or lacks tables.

    Raises
    ------
    StorageError
        If so; the message names the command that makes them.
    """
    database = engine.url.database
    is_file = engine.url.get_backend_name() == "sqlite" and database and not database.startswith((":", "file:"))
    # SQLite would make an empty file.
    if is_file and database and not Path(database).exists():
        raise StorageError(f"database {describe(engine)} is not there; {INIT_COMMAND} makes it")
    with begin_transaction(engine) as session:
        missing = find_missing_tables(session)
    if missing:
        raise StorageError(
            f"database {describe(engine)} lacks the tables {', '.join(missing)}; {INIT_COMMAND} makes them"
        )
