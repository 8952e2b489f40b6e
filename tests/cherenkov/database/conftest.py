"""Databases of both kinds, and what is uploaded to them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BINARIES = "/usr/lib/postgresql"
"""Folder of the versions of PostgreSQL that Debian's package brings."""


def find_binaries() -> Path | None:
    versions = sorted(Path(BINARIES).glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


def run_as_user(*command: str | Path) -> None:
    """Run a command of the server, which refuses root: then as the user that Debian's package makes."""
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run([*as_user, *map(str, command)], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a PostgreSQL server of our own, which listens on a socket in its own folder only."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(f"no PostgreSQL in {BINARIES}; Debian's package postgresql brings it")
    pytest.importorskip("psycopg")
    # The path of a socket has at most 107 characters: not in pytest's folder.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        data = folder / "data"
        run_as_user(binaries / "initdb", "-D", data, "-A", "trust", "-U", "calibpipe", "--no-sync", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses='' -F"
        run_as_user(binaries / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
        try:
            yield f"postgresql+psycopg://calibpipe@/postgres?host={folder}"
        finally:
            run_as_user(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_server_database(server: str) -> Iterator[Callable[[], str]]:
    """Make empty databases on the server: each call returns the URL of one, dropped after the test."""
    import psycopg

    socket = server.partition("host=")[2]
    names: list[str] = []

    def make() -> str:
        names.append(f"test{len(names)}")
        connection.execute(f"CREATE DATABASE {names[-1]}")
        return server.replace("/postgres?", f"/{names[-1]}?")

    with psycopg.connect(host=socket, user="calibpipe", dbname="postgres", autocommit=True) as connection:
        yield make
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'calibpipe.db'}"
    url: str = request.getfixturevalue("make_server_database")()
    return url
