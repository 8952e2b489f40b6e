"""Commands and Python in processes of their own that start at once: forks of one that has imported what they need.

A start of Python with the libraries takes seconds, and the documentation has dozens of commands. Tests in which the
start itself matters, and at least one of each command, use the installed ones.
"""

from __future__ import annotations

import array
import atexit
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

IMPORTED = [
    "astropy.table",
    "astropy.time",
    "cal_pipeline.cli.calibpipe",
    "cal_pipeline.cli.calibrate",
    "cal_pipeline.cli.simulate",
    "cal_pipeline.pipelines",
    "cal_pipeline.steps.cherenkov",
    "cal_pipeline.steps.imager",
    "matplotlib.pyplot",
    "stpipe._cli.strun",
    "xarray",
]

# It needs no more than this, and starts in a few hundredths of a second.
STUB = f"""#!{sys.executable} -ISB
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(SOCKET)
    asked = [os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]
    socket.send_fds(server, [b"x"], [0, 1, 2])
    server.sendall(json.dumps(asked).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(8) or 99))
"""


class WarmCommands:
    """A folder with ``python`` and the commands of the package, and the process that does their work.

    Parameters
    ----------
    folder : Path
        Where to make the folder ``bin``.
    """

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        # Names of sockets have some hundred characters at most.
        self._short = tempfile.TemporaryDirectory()
        address = f"{self._short.name}/socket"
        for name in ("python", *_commands()):
            (self.bin / name).write_text(STUB.replace("SOCKET", repr(address)))
            (self.bin / name).chmod(0o755)
        environment = os.environ | {"MPLBACKEND": "Agg"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def run(self, name: str, *arguments: Any, **settings: Any) -> subprocess.CompletedProcess[Any]:
        """Run a command, or ``python -c``, and keep what it prints; settings are those of `subprocess.run`."""
        command = [str(self.bin / name), *map(str, arguments)]
        return subprocess.run(command, **({"capture_output": True, "text": True, "check": False} | settings))

    def run_block(self, language: str, text: str, folder: Path) -> str:
        """Run a block of a page, like the function of this name in ``docs/examples/run_page.py``."""
        environment = os.environ | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "MPLBACKEND": "Agg"}
        command = ["bash", "-euo", "pipefail"] if language == "bash" else [str(self.bin / "python")]
        settings: dict[str, Any] = {"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "text": True}
        return str(subprocess.run([*command, "-c", text], **settings, check=True).stdout)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._short.cleanup()


def _commands() -> dict[str, str]:
    """Return the functions of the commands, as the installed packages declare them."""
    scripts = entry_points(group="console_scripts")
    return {
        entry.name: entry.value for entry in scripts if entry.value.startswith("cal_pipeline.") or entry.name == "strun"
    }


def _serve(address: str) -> None:
    """Fork a process for each command that is asked for, until the standard input closes."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while server in select.select([server, sys.stdin], [], [])[0]:
            connection, _ = server.accept()
            with connection:
                if os.fork() == 0:
                    _be_command(connection)


def _be_command(connection: socket.socket) -> None:
    """Take over what the stub has, do its work and tell the status."""
    status = 98
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(12))
        descriptors = array.array("i", ancillary[0][2])
        name, arguments, folder, environment = json.loads(b"".join(iter(lambda: connection.recv(1 << 16), b"")))
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        encoding = environment.get("PYTHONIOENCODING")
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(n, mode, encoding=encoding, errors=how, closefd=False)
            for n, (mode, how) in enumerate((("r", "strict"), ("w", "strict"), ("w", "backslashreplace")))
        )
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        status = _status_of(_find_main(name, arguments))
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        with suppress(OSError):
            connection.sendall(str(status).encode())
        os._exit(status)


def _find_main(name: str, arguments: list[str]) -> Callable[[], Any]:
    """Return the function of a command, or one that runs the text after ``python -c``."""
    if name == "python":
        sys.argv, sys.path[0] = ["-c", *arguments[2:]], ""
        return lambda: exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    sys.argv = [name, *arguments]
    module, _, function = _commands()[name].partition(":")
    main: Callable[[], Any] = getattr(importlib.import_module(module), function)
    return main


def _status_of(main: Callable[[], Any]) -> int:
    """Call a function and return the status with which Python would end."""
    try:
        returned = main()
    except SystemExit as ended:
        returned = ended.code
    except BaseException:
        traceback.print_exc()
        return 1
    if returned is None or isinstance(returned, int):
        return returned or 0
    print(returned, file=sys.stderr)
    return 1


if __name__ == "__main__":
    _serve(sys.argv[1])
