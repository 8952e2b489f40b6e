"""The built documentation can be read without a network, on any screen, and its links lead somewhere."""

from __future__ import annotations

import datetime
import html
import re
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from helpers_browser import LAPTOP, PHONE, Visit, open_browser
from helpers_site import DOCS, SitePage, find_site

from cal_pipeline import __version__

pytestmark = pytest.mark.site

SOURCES = sorted([*DOCS.rglob("*.rst"), *DOCS.rglob("*.inc"), *DOCS.rglob("*.md")])
TYPESET = r"[\u2018\u2019\u201c\u201d\u2013]|\\\\$"
"""Quotes and dashes of a typesetter, and a doubled backslash at the end of a line."""

SHARES = 4
"""Tests among which the pages are divided, so that several processes visit them."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return find_site(tmp_path_factory)


@pytest.fixture(scope="module")
def pages(site):
    found = {path: SitePage(path) for path in sorted(site.rglob("*.html"))}
    assert len(found) > len(list(DOCS.rglob("*.rst")))
    return found


@pytest.fixture(scope="module")
def visit():
    with open_browser() as browser:
        yield Visit(browser.new_page())


@pytest.mark.slow
def test_nothing_is_loaded_from_another_host(site, pages):
    for path, page in pages.items():
        assert [address for address in page.loaded if urlsplit(address).netloc] == [], path.name
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        addresses = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s;]+)", sheet.read_text())
        assert [address for address in addresses if urlsplit(address).netloc] == [], sheet.name


@pytest.mark.slow
def test_formulas_are_mathml(pages):
    formulas = sum(page.text.count("<math") for page in pages.values())
    written = sum(source.read_text().count(":math:`") + source.read_text().count(".. math::") for source in SOURCES)
    assert formulas >= written > 50
    for path, page in pages.items():
        assert not re.search(
            r"\\\(|\\\[|\\mathrm|\\frac", re.sub(r"<(pre|script).*?</\1>", "", page.text, flags=re.S)
        ), path


@pytest.mark.slow
def test_local_links_lead_somewhere(pages):
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            address, anchor = urldefrag(link)
            if urlsplit(link).scheme or urlsplit(link).netloc:
                continue
            target = (path.parent / unquote(urlsplit(address).path)).resolve() if address else path
            assert target.exists(), f"{path.name}: {link}"
            if anchor and target in pages and target.name != "search.html":
                assert unquote(anchor) in pages[target].anchors, f"{path.name}: {link}"


@pytest.mark.slow
def test_each_page_names_version_and_year(site, pages):
    year = str(datetime.datetime.now(datetime.UTC).year)
    for path, page in pages.items():
        assert f"version {__version__}" in page.text, path.name
        assert re.search(rf"Copyright [^<]*{year}, the cal_pipeline developers", page.text), path.name


@pytest.mark.slow
def test_commands_are_shown_as_they_are_typed(pages):
    for path, page in pages.items():
        shown = re.findall(r"<(?:code|pre)[^>]*>(.*?)</(?:code|pre)>", page.text, flags=re.S)
        for text in (html.unescape(re.sub(r"<[^>]+>", "", piece)) for piece in shown):
            if not path.match("*/_modules/*"):
                assert not re.search(TYPESET, text, re.MULTILINE), f"{path.name}: {text}"


@pytest.mark.slow
def test_signatures_are_readable(pages):
    api = next(page for path, page in pages.items() if path.name == "api.html")
    signatures = re.findall(r'<dt class="sig[^>]*>(.*?)</dt>', api.text, flags=re.S)
    # A signature with a line for each parameter has an item for each.
    lines = "\n".join(signatures).replace("<dd>", "\n")
    shown = html.unescape(re.sub(r"<[^>]+>", "", lines)).splitlines()
    assert len(shown) > 80
    assert [
        text for text in shown if len(text) > 200 or re.search(r"<\w+ |0x[0-9a-f]{6}|\w*Path\(|<factory>", text)
    ] == []


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("share", range(SHARES))
def test_every_page_fits_laptop_and_phone(site, visit, share):
    # Listings of sources are alike: those with the longest name and the most lines stand for them.
    listings = sorted((site / "_modules").rglob("*.html"), key=lambda path: (len(path.stem), path.stat().st_size))
    others = set(listings) - {*listings[-2:], max(listings, key=lambda path: path.stat().st_size)}
    complaints = {}
    for path in sorted(set(site.rglob("*.html")) - others)[share::SHARES]:
        # Loaded once and resized: the theme arranges the page anew.
        found = visit.open(path, LAPTOP)
        visit.resize(PHONE)
        found += [complaint for complaint in visit.complain() if complaint not in found]
        if found:
            complaints[str(path.relative_to(site))] = found
    assert complaints == {}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_wide_content_scrolls_in_a_box_of_its_own(site, visit, size):
    visit.open(site / "quickstart.html", size)
    boxes = "[...document.querySelectorAll('.highlight pre, .wy-table-responsive')].filter(box => box.clientWidth)"
    # Commands of a hundred characters are wider than a phone, and can be read by scrolling.
    scrolled = visit.page.evaluate(
        f"{boxes}.filter(box => {{ box.scrollLeft = 30; return box.scrollWidth > box.clientWidth && box.scrollLeft }})"
        ".length"
    )
    assert (scrolled > 0) == (size == PHONE)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(("word", "page"), [("saturation", "imager/ramps.html"), ("muon", "cherenkov/camera.html")])
def test_search_works_from_a_folder(site, visit, word, page):
    visit.open(site / "index.html")
    visit.page.fill("#rtd-search-form input[type=text]", word)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(f"#search-results li a[href^='{page}']")
    assert visit.complain() == []
    visit.page.click(f"#search-results li a[href^='{page}']")
    visit.page.wait_for_load_state()
    assert word in visit.page.inner_text("body").lower()
    assert visit.complain() == []


@pytest.mark.slow
@pytest.mark.browser
def test_the_menu_of_a_phone_opens(site, visit):
    visit.open(site / "quickstart.html", PHONE)
    menu = "document.querySelector('.wy-nav-side').getBoundingClientRect().left"
    assert visit.page.evaluate(menu) < 0
    visit.page.click(".wy-nav-top i")
    visit.page.wait_for_function(f"{menu} >= 0")


@pytest.mark.browser
def test_the_browser_notices_what_it_is_asked_for(tmp_path, visit):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><p style='width: 2000px'>wide</p><img src='absent.png'>"
        "<img src='http://127.0.0.1:9/x.png'><script>absent()</script>"
    )
    complaints = "\n".join(visit.open(page))
    for expected in ("P. wide", "image does not load: absent.png", "leaves the machine: http", "absent is not defined"):
        assert expected in complaints
    box = "<!doctype html><div style='overflow-x: auto'><p style='width: 2000px'>wide</p></div>"
    page.write_text(box)
    assert visit.open(page) == []
