"""Reading of reports without a browser, from the description of their format alone."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

HOSTILE = "</script><img src=x onerror=\"window.hacked='yes'\"><b>Orion</b> & <a href='javascript:1'>M42</a>"
"""A name that would run code if it were taken for HTML."""


class Report(HTMLParser):
    """Elements of a report: payloads by their id, attributes of all elements, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.payloads: dict[str, str] = {}
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._within = ""
        self.source = path.read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.elements.append((tag, given))
        self._within = str(given.get("id") or "") if tag == "script" else ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within:
            self.payloads[self._within] = data
        self.text.append(data)

    @property
    def pages(self) -> list[str]:
        """Ids of the pages, in the order of the file."""
        return [name.removeprefix("page-") for name in self.payloads if name.startswith("page-")]

    def meta(self, name: str) -> str:
        """Content of a meta element."""
        found = (given for tag, given in self.elements if tag == "meta" and name in given.values())
        return str(next(found)["content"])

    def read(self, page: str) -> Payload:
        """Read a page."""
        return Payload(self.payloads[f"page-{page}"])


class Payload:
    """Content and arrays of a page."""

    def __init__(self, text: str) -> None:
        self.data = base64.b64decode(text)
        (length,) = struct.unpack("<I", self.data[:4])
        header = json.loads(zlib.decompress(self.data[4 : 4 + length]))
        self.content, self.arrays = header["content"], header["arrays"]
        self._streams = self.data[4 + length :]

    def array(self, number: int) -> list[np.ndarray[Any, Any]]:
        """Decode the arrays of an entry."""
        return [self._decode(item) for item in self.arrays[number]["arrays"]]

    def _decode(self, item: dict[str, Any]) -> np.ndarray[Any, Any]:
        planes = np.frombuffer(zlib.decompress(self._streams[item["at"] : item["at"] + item["size"]]), np.uint8)
        width = int(item["type"][1:])
        raw = planes.reshape(width, -1).T.copy().tobytes()
        if item["type"] != "q2":
            return np.frombuffer(raw, f"<{item['type']}").reshape(item["shape"])
        codes = np.frombuffer(raw, "<i2").astype(np.int64)
        if item["delta"]:
            codes = (np.cumsum(codes) + 32768) % 65536 - 32768
        values = np.where(codes == -32768, np.nan, item["offset"] + item["step"] * codes)
        return values.reshape(item["shape"])

    def find(self, kind: str, title: str = "") -> list[dict[str, Any]]:
        """Find all blocks of a kind, and with a title if one is given."""
        found: list[dict[str, Any]] = []

        def walk(value: Any) -> None:
            if isinstance(value, dict):
                if value.get("block") == kind and (not title or value.get("title") == title):
                    found.append(value)
                for item in value.values():
                    walk(item)
            elif isinstance(value, list):
                for item in value:
                    walk(item)

        walk(self.content)
        return found

    @property
    def words(self) -> str:
        """All text of the page."""
        return json.dumps(self.content, ensure_ascii=False)

    def facts(self) -> dict[str, Any]:
        """All named values."""
        return {name: value for block in self.find("facts") for name, value in block["pairs"]}


def find_foreign(source: str) -> list[str]:
    """Find addresses that elements of a page would load or open."""
    return re.findall(r"(?:src|href)=[\"']?(?!#|data:)([^\"'> ]+)", source.partition("<script")[0])
