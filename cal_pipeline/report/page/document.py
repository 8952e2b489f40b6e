"""Report: one HTML file with a page for each observation, written page by page."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import quote

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.files.replace import replace_file
from cal_pipeline.core.text import make_printable
from cal_pipeline.report.page.blocks import Block, Page
from cal_pipeline.report.page.payload import pack

LIMIT = 20_000_000
"""Largest size of a report [bytes], as long as curves can be reduced any further."""

OVERVIEW_SHARE = 0.08
"""Share of the budget that is left to the overview."""

MARKER = "cal-pipeline-report-of"
"""Name of the meta element with the name of the store, by which a file is known as a report of ours."""

_LEAST = 3000.0
"""Least budget of a page [characters]."""


class ReportDocument:
    """Report that is being written; a context manager.

    Pages are added one by one and written at once. At the end of the block the file replaces an
    older one; after an error the older one stays.

    Parameters
    ----------
    path : str or Path
        File to write.
    title : str
        Title of the report.
    subtitle : str
        A line below it.
    n_pages : int
        Number of pages to come, among which the budget is divided.
    of : str
        Name of the store.
    limit : int
        Largest size [bytes].
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputExistsError
        If the file exists and may not be replaced.

    Examples
    --------
    >>> from cal_pipeline.report.page.blocks import text
    >>> with ReportDocument("report.html", "Night", n_pages=1) as report:
    ...     report.add_page(Page("scan-1", "Scan 1", [text("Calm.")], verdict="pass"))
    ...     report.add_overview([text("One scan.")])
    >>> Path("report.html").read_text().startswith("<!doctype html>")
    True
    """

    def __init__(
        self,
        path: str | Path,
        title: str,
        subtitle: str = "",
        n_pages: int = 0,
        of: str = "",
        limit: int = LIMIT,
        overwrite: bool = False,
    ) -> None:
        refuse_existing(path, overwrite)
        self._replacement = replace_file(path)
        self._title, self._subtitle, self._of = title, subtitle, of
        self._n_left, self._limit, self._written = n_pages, limit, 0
        self._index: list[dict[str, Any]] = []
        self._overview: Sequence[Block] = ()
        self.n_halvings = 0
        """How often curves and images were reduced to half of their points."""

    def __enter__(self) -> ReportDocument:
        unfinished = self._replacement.__enter__()
        try:
            self._file: BinaryIO = open(unfinished, "wb")
        except OSError as failure:
            self._replacement.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._write(_write_head(self._title, self._of))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._finish()
        except BaseException as failure:
            self._replacement.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._replacement.__exit__(kind, error, trace)

    def add_page(self, page: Page) -> None:
        """Write a page.

        Parameters
        ----------
        page : Page
            The page; its arrays are reduced to its share of the budget.
        """
        left = self._limit * (1.0 - OVERVIEW_SHARE) - self._written
        budget = max(left / max(self._n_left, 1), _LEAST)
        self._n_left -= 1
        shown = list(page.shown or page.groups[:4])
        self._add_payload({**_as_mapping(page), "shown": shown}, budget)
        self._index.append({"id": page.id, "title": page.title, "verdict": page.verdict or "", "judged": page.judged})

    def add_overview(self, blocks: Sequence[Block]) -> None:
        """Set the first page, which is written at the end.

        Parameters
        ----------
        blocks : sequence of Block
            Its content, such as a table of the pages.
        """
        self._overview = blocks

    def _finish(self) -> None:
        """Write the overview, the list of pages, and the scripts."""
        overview = Page("overview", self._title, self._overview, self._subtitle)
        self._add_payload({**_as_mapping(overview), "shown": []}, max(self._limit - self._written - 10_000, _LEAST))
        index = {"title": self._title, "pages": self._index}
        self._write(f'<script type="text/plain" id="index">{pack(index).text}</script>\n')
        self._write(f'<script type="text/plain" id="plotly">{_plotly()[0]}</script>\n')
        self._write(f"<script>{_read_asset('report.js')}</script>\n</body>\n</html>\n")

    def _add_payload(self, content: Mapping[str, Any], budget: float) -> None:
        packed = pack(content, budget)
        self.n_halvings += packed.n_halvings
        name = escape(str(content["id"]))
        self._write(f'<script type="text/plain" id="page-{name}">{packed.text}</script>\n')

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", errors="backslashreplace")
        # The library is counted at the beginning, though it comes at the end.
        self._written += len(data) if self._written else len(data) + len(_plotly()[0])
        self._file.write(data)


def refuse_existing(path: str | Path, overwrite: bool) -> None:
    """Refuse to replace a file unless that is allowed.

    Raises
    ------
    OutputExistsError
        If the file exists and may not be replaced.

    Examples
    --------
    >>> refuse_existing("absent.html", overwrite=False)
    """
    if Path(path).is_dir():
        raise OutputExistsError(f"output {path} is a folder; name a file, as in report.html")
    if not overwrite and Path(path).exists():
        raise OutputExistsError(f"output {path} exists; give overwrite=True to replace it")


def _as_mapping(page: Page) -> dict[str, Any]:
    return {field.name: getattr(page, field.name) for field in fields(page)}


def _write_head(title: str, of: str) -> str:
    """Write the document up to the first payload.

    The policy allows the two scripts of ours by their digests, and no connection at all.
    """
    scripts = " ".join(f"'sha256-{_digest(text)}'" for text in (_read_asset("report.js"), _plotly_source()))
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="cal_pipeline {escape(__version__)}">
<meta name="{MARKER}" content="{quote(of, errors="surrogateescape")}">
<title>{escape(make_printable(title))}</title>
<style>{_read_asset("report.css")}</style>
</head>
<body>
{_read_asset("body.html")}
"""


@cache
def _read_asset(name: str) -> str:
    return files("cal_pipeline.report.page").joinpath("assets", name).read_text("utf-8")


@cache
def _plotly_source() -> str:
    """Return the source of the plotting library, which is part of the package plotly."""
    from plotly.offline import get_plotlyjs

    # A line end that HTML would change changes the digest.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")


@cache
def _plotly() -> tuple[str]:
    """Deflate the plotting library."""
    return (base64.b64encode(zlib.compress(_plotly_source().encode("utf-8"), 6)).decode("ascii"),)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
