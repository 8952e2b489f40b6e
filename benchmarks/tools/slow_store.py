"""Object store in memory, with a latency of each request and a bandwidth: ``python slow_store.py PORT``.

The server of the tests answers a few hundred requests a second with two cores, and would itself be measured.

As much of S3 as drivers need: objects with ranges, listings (version 2), deletion of many, multipart
uploads; signatures are not looked at. Requests wait beside each other, bytes one after the other: an
answer leaves once its request has waited and the link has passed what was asked for before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode
from xml.sax.saxutils import escape

_MOST_KEYS = 1000
_HEAD_END = b"\r\n\r\n"


@dataclass
class Link:
    """Direction of a connection to the store, shared by all clients.

    Parameters
    ----------
    rate : float
        Bandwidth [bytes/s]; infinite if 0.
    """

    rate: float
    _free_at: float = 0.0

    def pass_through(self, n_bytes: int, now: float) -> float:
        """Return when bytes that are given to the link now have passed it [s]."""
        if not self.rate:
            return now
        self._free_at = max(self._free_at, now) + n_bytes / self.rate
        return self._free_at


@dataclass
class Answer:
    """Answer to a request."""

    status: int
    body: bytes | memoryview = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Store:
    """Objects by bucket and key, and what was asked for.

    Parameters
    ----------
    latency : float
        Time that each request waits [s].
    up, down : Link
        Links to the store and from it; one object for both where they share a bandwidth.
    """

    latency: float
    up: Link
    down: Link
    objects: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    log: list[tuple[float, float, str, str, int]] = field(default_factory=list)
    """Of each request: arrival and end [s], kind, key, bytes of the object."""
    in_flight: int = 0
    most_in_flight: int = 0

    def put(self, key: str, content: bytes) -> str:
        self.objects[key] = content
        self.etags[key] = f'"{len(self.log):032x}"'
        return self.etags[key]

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[str, str, Answer]:
        """Return the kind of a request, its key and the answer."""
        path, _, rest = target.partition("?")
        key = unquote(path).lstrip("/")
        query = {name: values[0] for name, values in parse_qs(rest, keep_blank_values=True).items()}
        if key == "-":
            return "control", key, self._control(query)
        if method == "GET" and "/" not in key.rstrip("/"):
            if "location" in query:
                return "other", key, Answer(200, b'<?xml version="1.0"?><LocationConstraint/>')
            return "list", query.get("prefix", ""), self._list(key.rstrip("/"), query)
        if method == "POST" and "delete" in query:
            return "delete many", key, self._delete_many(key.rstrip("/"), body)
        if "uploads" in query or "uploadId" in query:
            return f"multipart {method}", key, self._multipart(method, key, query, body)
        if method == "PUT":
            if "x-amz-copy-source" in headers:
                body = self.objects[unquote(headers["x-amz-copy-source"]).lstrip("/")]
            return "put", key, Answer(200, b"", {"ETag": self.put(key, body)})
        if method == "DELETE":
            self.objects.pop(key, None)
            return "delete", key, Answer(204)
        if method in ("GET", "HEAD"):
            return method.lower(), key, self._get(key, headers.get("range", ""))
        return "other", key, Answer(501)

    def _get(self, key: str, wanted: str) -> Answer:
        content = self.objects.get(key)
        if content is None:
            return Answer(404, b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>')
        headers = {"ETag": self.etags[key], "Last-Modified": formatdate(0, usegmt=True), "Accept-Ranges": "bytes"}
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if match is None:
            return Answer(200, content, headers)
        first, last = match.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= len(content):
            return Answer(416, b'<?xml version="1.0"?><Error><Code>InvalidRange</Code></Error>')
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return Answer(206, memoryview(content)[start:stop], headers)

    def _list(self, bucket: str, query: dict[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        most = int(query.get("max-keys", _MOST_KEYS))
        items: dict[str, str] = {}
        start = len(bucket) + 1
        for full in sorted(self.objects):
            key = full[start:]
            if not full.startswith(f"{bucket}/") or not key.startswith(prefix):
                continue
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key[: end + 1] if end >= 0 else key
            if name in items or (after and name <= after):
                continue
            if len(items) == most:
                break
            text = f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            if end < 0:
                text = (
                    f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f"<ETag>{escape(self.etags[full])}</ETag><Size>{len(self.objects[full])}</Size>"
                    "<StorageClass>STANDARD</StorageClass></Contents>"
                )
            items[name] = text
        else:
            most = len(items) + 1
        is_cut = len(items) == most
        more = f"<NextContinuationToken>{escape(list(items)[-1])}</NextContinuationToken>" if is_cut else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(items)}</KeyCount>"
            f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(is_cut).lower()}</IsTruncated>{more}{''.join(items.values())}"
            "</ListBucketResult>"
        )
        return Answer(200, body.encode(), {"Content-Type": "application/xml"})

    def _delete_many(self, bucket: str, body: bytes) -> Answer:
        keys = re.findall(r"<Key>([^<]*)</Key>", body.decode())
        for key in keys:
            self.objects.pop(f"{bucket}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        return Answer(200, f'<?xml version="1.0"?><DeleteResult>{deleted}</DeleteResult>'.encode())

    def _multipart(self, method: str, key: str, query: dict[str, str], body: bytes) -> Answer:
        if "uploads" in query:
            name = f"upload-{len(self.log)}"
            self.uploads[name] = {}
            xml = f"<InitiateMultipartUploadResult><Key>{escape(key)}</Key><UploadId>{name}</UploadId>"
            return Answer(200, f"<?xml version='1.0'?>{xml}</InitiateMultipartUploadResult>".encode())
        parts = self.uploads[query["uploadId"]]
        if method == "PUT":
            parts[int(query["partNumber"])] = body
            return Answer(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        del self.uploads[query["uploadId"]]
        if method == "DELETE":
            return Answer(204)
        tag = self.put(key, b"".join(parts[number] for number in sorted(parts)))
        xml = f"<CompleteMultipartUploadResult><ETag>{escape(tag)}</ETag></CompleteMultipartUploadResult>"
        return Answer(200, f"<?xml version='1.0'?>{xml}".encode())

    def _control(self, query: dict[str, str]) -> Answer:
        """Load a folder, change the limits, tell what was asked for, forget it."""
        if "load" in query:
            folder = Path(query["load"])
            for path in folder.rglob("*"):
                if path.is_file():
                    self.put(f"{query['as']}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        if "drop" in query:
            for key in [key for key in self.objects if key.startswith(query["drop"])]:
                del self.objects[key]
        if "latency" in query:
            self.latency = float(query["latency"])
        if "rate" in query:
            self.up.rate = self.down.rate = float(query["rate"])
        kinds: dict[str, list[int]] = {}
        for _, _, kind, _, size in self.log:
            found = kinds.setdefault(kind, [0, 0])
            found[0] += 1
            found[1] += size
        read = Counter(key for _, _, kind, key, _ in self.log if kind == "get")
        told: dict[str, Any] = {"kinds": kinds, "most_in_flight": self.most_in_flight}
        told["read_again"] = sum(number - 1 for number in read.values())
        if "log" in query:
            told["log"] = self.log
        if "reset" in query:
            self.log, self.most_in_flight = [], 0
        return Answer(200, json.dumps(told).encode())


class Connection(asyncio.Protocol):
    """Connection of a client: requests one after the other."""

    def __init__(self, store: Store) -> None:
        self._store, self._loop = store, asyncio.get_running_loop()
        self._transport: Any = None
        self._data = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._length = 0
        self._arrived = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=1 << 26)

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._proceed()

    def _proceed(self) -> None:
        while True:
            if self._head is None:
                end = self._data.find(_HEAD_END)
                if end < 0:
                    return
                first, *lines = bytes(self._data[:end]).decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ", 2)
                pairs = (line.partition(":") for line in lines)
                headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
                del self._data[: end + len(_HEAD_END)]
                self._head, self._length = (method, target, headers), int(headers.get("content-length", 0))
                self._arrived = self._loop.time()
                store = self._store
                store.in_flight += 1
                store.most_in_flight = max(store.most_in_flight, store.in_flight)
                if headers.get("expect", "").lower() == "100-continue":
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if len(self._data) < self._length:
                return
            body = bytes(memoryview(self._data)[: self._length]) if self._length else b""
            del self._data[: self._length]
            (method, target, headers), self._head = self._head, None
            if "aws-chunked" in headers.get("content-encoding", ""):
                body = _unchunk(body)
            self._respond(method, target, headers, body)

    def _respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        store = self._store
        try:
            kind, key, answer = store.answer(method, target, headers, body)
        except KeyError as error:
            kind, key, answer = "failed", str(error), Answer(404)
        size = len(answer.body) if kind == "get" else len(body)
        now = self._loop.time()
        if kind == "control":
            self._send(answer, method)
            store.in_flight -= 1
            return
        # What is read passes the link once the request has come, what is written before it is answered.
        ready = self._arrived + store.latency
        passed = store.up.pass_through(len(body), self._arrived) if body else 0.0
        if method == "GET" and len(answer.body):
            passed = max(passed, store.down.pass_through(len(answer.body), max(now, ready)))

        def send() -> None:
            store.in_flight -= 1
            store.log.append((self._arrived, self._loop.time(), kind, key, size))
            self._send(answer, method)

        self._loop.call_at(max(ready, passed), send)

    def _send(self, answer: Answer, method: str) -> None:
        if self._transport.is_closing():
            return
        headers = {"Content-Length": str(len(answer.body)), "Connection": "keep-alive"} | answer.headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode("latin-1"))
        if method != "HEAD" and len(answer.body):
            self._transport.write(answer.body)


def _unchunk(body: bytes) -> bytes:
    """Join the chunks that a body is sent in."""
    found, start = [], 0
    while True:
        end = body.index(b"\r\n", start)
        size = int(body[start:end].split(b";")[0], 16)
        if not size:
            return b"".join(found)
        found.append(body[end + 2 : end + 2 + size])
        start = end + 2 + size + 2


async def serve(port: int, store: Store, started: Callable[[int], None]) -> None:
    """Serve until cancelled; calls `started` with the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(store), "127.0.0.1", port, backlog=512)
    started(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


@dataclass
class RunningStore:
    """A store that runs in a process of its own."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of its clients."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        address = f"http://127.0.0.1:{self.port}"
        return {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"} | dict.fromkeys(names, "any")

    def control(self, **query: object) -> dict[str, Any]:
        """Load a folder, drop objects, change limits, and get the counts of requests (see `Store._control`)."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-?{urlencode(query)}") as answer:
            return json.loads(answer.read())


@contextlib.contextmanager
def open_store() -> Iterator[RunningStore]:
    """Run a store without latency or limits until told otherwise."""
    command = [sys.executable, __file__, "0", "--latency", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield RunningStore(int(process.stdout.readline()))
        finally:
            process.kill()


def main() -> None:
    """Serve from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--latency", type=float, default=0.05, help="time that each request waits [s]")
    parser.add_argument("--rate", type=float, default=0.0, help="bandwidth of each direction [bytes/s]")
    parser.add_argument("--shared", action="store_true", help="both directions share the bandwidth")
    args = parser.parse_args()
    down = Link(args.rate)
    store = Store(args.latency, down if args.shared else Link(args.rate), down)
    asyncio.run(serve(args.port, store, lambda port: print(port, flush=True)))


if __name__ == "__main__":
    main()
