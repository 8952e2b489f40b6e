"""Servers on this machine that answer as they should until a request at which they do not."""

from __future__ import annotations

import contextlib
import functools
import http.client
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

FAULTS = {
    "hangs": "keeps silent",
    "breaks off": "closes the connection",
    "breaks off after the work": "does what it is asked, and closes the connection",
    "cuts off": "sends half of what it announced",
    "shortens": "sends half, and announces no more",
    "trickles": "sends a byte now and then",
    "500": "answers 500",
    "503": "answers 503",
    "403": "answers 403",
}
"""What a server does instead of answering."""


@dataclass(frozen=True)
class ServerFault:
    """A fault of a server.

    Parameters
    ----------
    what : str
        One of `FAULTS`.
    at : int
        Number of the request at which it begins, from 0 on.
    once : bool
        Whether later requests are answered as they should be.
    """

    what: str
    at: int
    once: bool


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Answers from a folder, or by asking another server."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def _answer(self) -> None:
        body = self._read_body()
        fault = self.server.next_fault()
        if fault == "breaks off":
            self._hang_up()
        elif fault == "hangs":
            time.sleep(3600.0)
        elif fault in ("500", "503", "403"):
            self._send(int(fault), {}, b"no")
        else:
            self._send(*self._ask(body), fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.server.behind is None:
            return self._from_folder()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        connection.request(self.command, self.path, body or None, headers | {"Content-Length": str(len(body))})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        dropped = ("connection", "transfer-encoding", "server", "date")
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in dropped}
        if self.command != "HEAD":
            kept = {name: value for name, value in kept.items() if name.lower() != "content-length"}
        return answer.status, kept, content

    def _from_folder(self) -> tuple[int, dict[str, str], bytes]:
        path = Path(self.server.folder, unquote(self.path.partition("?")[0]).lstrip("/"))
        if path.is_dir():
            names = sorted(name.name + ("/" if name.is_dir() else "") for name in path.iterdir())
            links = "".join(f'<a href="{quote(name)}">{name}</a>\n' for name in names)
            return 200, {"Content-Type": "text/html"}, links.encode()
        if not path.is_file():
            return 404, {}, b"not found"
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return 200, {"Accept-Ranges": "bytes"}, content
        first, last = wanted.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        part = content[start:stop]
        return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}, part

    def _send(self, status: int, headers: dict[str, str], content: bytes, fault: str = "") -> None:
        if fault == "breaks off after the work":
            self._hang_up()
            return
        if fault == "shortens":
            content = content[: len(content) // 2]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or status in (204, 304):
            return
        if fault == "cuts off":
            self.wfile.write(content[: len(content) // 2])
            self._hang_up()
        elif fault == "trickles":
            for position in range(len(content)):
                self.wfile.write(content[position : position + 1])
                self.wfile.flush()
                time.sleep(0.3)
        else:
            self.wfile.write(content)

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, behind: int | None, fault: ServerFault | None, counter: int) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
        self.folder, self.behind, self._fault, self._counter = folder, behind, fault, counter
        self._n = 0
        self._one_at_a_time = threading.Lock()

    def next_fault(self) -> str:
        """Return what to do with the next request; empty for an answer."""
        with self._one_at_a_time:
            n, self._n = self._n, self._n + 1
            os.pwrite(self._counter, b"%10d" % self._n, 0)
        fault = self._fault
        if fault is None or n < fault.at or (fault.once and n > fault.at):
            return ""
        return fault.what

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that have gone."""


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Parameters
    ----------
    port : int
        Its port on this machine.
    counter : int
        Descriptor of a file with the number of its requests.
    """

    port: int
    counter: int

    @property
    def n_requests(self) -> int:
        """Number of requests until now."""
        return int(os.pread(self.counter, 10, 0) or b"0")


@contextlib.contextmanager
def serve(folder: Path, fault: ServerFault | None = None, behind: int | None = None) -> Iterator[Running]:
    """Run a server in a process of its own: this one, which forks runs, has no threads.

    Parameters
    ----------
    folder : Path
        What it serves, unless it passes requests on.
    fault : ServerFault, optional
        What goes wrong.
    behind : int, optional
        Port of the server to which requests are passed on.
    """
    counter = os.memfd_create("requests")
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            server = _Server(folder, behind, fault, counter)
            os.write(sender, b"%d\n" % server.server_address[1])
            server.serve_forever()
        finally:
            os._exit(1)
    os.close(sender)
    try:
        yield Running(int(os.read(receiver, 20)), counter)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(receiver)
        os.close(counter)


@contextlib.contextmanager
def object_store() -> Iterator[int]:
    """Run an S3 server in a process of its own; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes], patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the object store does not start") from None
            time.sleep(0.05)


def ask(port: int, method: str, path: str, body: bytes = b"") -> bytes:
    """Send a request to an object store on this machine, which does not look at signatures."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    signature = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
    connection.request(method, quote(path, safe="/?&=-"), body, signature)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
    return content


def list_objects(port: int, bucket: str) -> list[str]:
    """List the keys in a bucket."""
    keys: list[str] = []
    while True:
        after = f"&start-after={keys[-1]}" if keys else ""
        text = ask(port, "GET", f"/{bucket}?list-type=2{after}").decode()
        found = re.findall(r"<Key>([^<]+)</Key>", text)
        keys += found
        if "<IsTruncated>true" not in text:
            return keys


def upload(port: int, bucket: str, folder: Path, prefix: str) -> None:
    """Put the files of a folder into a bucket."""
    for path in folder.rglob("*"):
        if path.is_file():
            ask(port, "PUT", f"/{bucket}/{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def download(port: int, bucket: str, prefix: str, folder: Path) -> None:
    """Write the objects below a prefix to a folder."""
    for key in list_objects(port, bucket):
        if key.startswith(f"{prefix}/"):
            path = folder / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(ask(port, "GET", f"/{bucket}/{key}"))
