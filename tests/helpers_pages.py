"""Pages of a report, read back from its file as the browser does."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib

import numpy as np


def read_pages(path):
    """Return the content of all pages by address, arrays in the place of their references."""
    text = path.read_text("utf-8")
    found = re.findall(r'<script type="text/plain" id="page-([^"]+)">([^<]*)</script>', text)
    return {name: _decode(payload) for name, payload in found}


def _decode(payload):
    data = base64.b64decode(payload)
    (length,) = struct.unpack("<I", data[:4])
    header, rest = json.loads(zlib.decompress(data[4 : 4 + length])), data[4 + length :]
    arrays = [[_read_stream(item, rest) for item in described["arrays"]] for described in header["arrays"]]
    return _put_arrays(header["content"], arrays, header["arrays"])


def _read_stream(item, rest):
    raw = np.frombuffer(zlib.decompress(rest[item["at"] : item["at"] + item["size"]]), np.uint8)
    size = 2 if item["type"] == "q2" else int(item["type"][1:])
    values = np.ascontiguousarray(raw.reshape(size, -1).T).reshape(-1)
    if item["type"] != "q2":
        return values.view(f"<{item['type']}").reshape(item["shape"])
    codes = values.view("<i2")
    codes = np.cumsum(codes, dtype=np.int16) if item["delta"] else codes
    known = np.where(codes == -32768, np.nan, item["offset"] + item["step"] * codes.astype(float))
    return known.reshape(item["shape"])


def _put_arrays(value, arrays, described):
    if isinstance(value, dict):
        if "$array" in value:
            number = value["$array"]
            return {"arrays": arrays[number], **{k: v for k, v in described[number].items() if k != "arrays"}}
        return {key: _put_arrays(item, arrays, described) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_arrays(item, arrays, described) for item in value]
    return value


def find_blocks(page, kind, title=None):
    """Find all blocks of a kind on a page, at any depth."""
    found = []
    stack = [page]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if value.get("block") == kind and title in (None, value.get("title"), value.get("caption")):
                found.append(value)
            stack.extend(reversed(list(value.values())))
        elif isinstance(value, list):
            stack.extend(reversed(value))
    return found


def find_section(page, title):
    """Find the section of a title on a page."""
    (found,) = find_blocks(page, "section", title)
    return found


def find_tables(page, column):
    """Find the tables with a column."""
    return [block for block in find_blocks(page, "table") if column in block["titles"]]


def read_tiles(page):
    """Return the values of all tiles by name."""
    return {name: value for block in find_blocks(page, "tiles") for name, value, _ in block["tiles"]}


def read_facts(page):
    """Return all facts of a page."""
    return {name: value for block in find_blocks(page, "facts") for name, value in block["pairs"]}
