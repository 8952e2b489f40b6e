"""Reports as a browser shows them: no error, no network, no sideways scrolling, hostile names inert, views drawn."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from cal_pipeline.report.page.arrays import Column, Envelope, Points, Raster
from cal_pipeline.report.page.blocks import (
    Axis,
    Curve,
    Page,
    Panel,
    badge,
    columns,
    curves,
    figure,
    image,
    link,
    note,
    section,
    table,
    tabs,
)
from cal_pipeline.report.page.document import ReportDocument
from cal_pipeline.report.receiver_report import write_report
from cal_pipeline.simulate import Line
from tests.helpers_browser import LAPTOP, PHONE, Visit, open_browser
from tests.helpers_report import HOSTILE
from tests.helpers_wait import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOTS = "CAL_PIPELINE_SCREENSHOTS"
"""Variable with a folder that screenshots are left in."""

DRAWN = """async () => {
    for (let y = 0; y < document.body.scrollHeight; y += 400) {
        window.scrollTo(0, y);
        await new Promise(done => setTimeout(done, 30));
    }
    for (let k = 0; k < 200 && [...document.querySelectorAll('.plot')].some(plot => !plot.dataset.drawn); k++)
        await new Promise(done => setTimeout(done, 100));
    window.scrollTo(0, 0);
    const plots = [...document.querySelectorAll('.plot')];
    return [plots.length, plots.filter(plot => plot.querySelector('.main-svg')).length];
}"""
"""Scrolls through a page and counts figures, and those that are drawn."""


LIMITS = """async () => {
    await new Promise(done => setTimeout(done, 800));
    return document.querySelector('.plot')._fullLayout.yaxis.range;
}"""
SPIKE = 5e5
"""Channel so far from the noise that codes of 16 bits cannot tell both."""

ZOOM = "Plotly.relayout(document.querySelector('.plot'), {'xaxis.range[0]': 462.43, 'xaxis.range[1]': 462.45})"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


@pytest.fixture
def visit(browser):
    """A window without a network."""
    opened = []

    def make(theme="light"):
        context = browser.new_context(offline=True, color_scheme=theme)
        opened.append(context)
        return Visit(context.new_page())

    yield make
    for context in opened:
        context.close()


def go(visit, path, page, size=LAPTOP):
    """Open a page of a report, and wait until its figures are drawn."""
    visit.page.goto("about:blank")
    complaints = visit.open(path, size, f"#{page}")
    visit.page.wait_for_selector(f"main[data-page='{page}']")
    n_figures, n_drawn = visit.page.evaluate(DRAWN)
    assert n_figures == n_drawn
    return [*complaints, *visit.complain()], n_figures


def shoot(visit, name):
    """Leave a screenshot, if a folder is named for them."""
    if folder := os.environ.get(SHOTS):
        visit.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reports")


@pytest.fixture
def of_receiver(folder, make_session, calibrate):
    """Report of two calibrated scans, in which all names are hostile, and of one that failed."""
    path = folder / "receiver.html"
    if not path.exists():
        line = Line(t_peak=3.0, fwhm_hz=2e8)
        product = calibrate(make_session(scans=2, channels=256, pixels=3, lines=(line,)), skydiff={"skip": False})
        for number in product.numbers:
            group = zarr.open_group(product.path / f"scan_{number:06d}", mode="r+")
            group.attrs["source"] = HOSTILE
            group.attrs["scan_metadata"] = {**group.attrs["scan_metadata"], "frontend": HOSTILE, HOSTILE: HOSTILE}
            names = np.array([[f"{HOSTILE}{k}"] for k in range(3)], dtype=group["pixel"].dtype)
            group["pixel"][...] = names
        failure = {"scan_number": 9, "step": "loads", "error_class": HOSTILE, "message": HOSTILE}
        (product.path / "failures.json").write_text(json.dumps([failure]))
        write_report(product.path, path)
    return path


@pytest.mark.parametrize(("size", "theme"), [(LAPTOP, "light"), (PHONE, "dark")])
def test_main_views_are_drawn_without_complaint(of_receiver, visit, size, theme):
    window = visit(theme)
    for page, least in (("overview", 6), ("scan-2", 9)):
        complaints, n_figures = go(window, of_receiver, page, size)
        assert complaints == []
        assert n_figures >= least
        shoot(window, f"receiver-{page}-{size[0]}-{theme}")
    assert window.page.evaluate("document.documentElement.dataset.theme") == theme
    background = window.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background.strip("rgb()").split(", "))) < 150) == (theme == "dark")


def test_hostile_names_are_shown_and_inert(of_receiver, visit):
    window = visit()
    complaints, _ = go(window, of_receiver, "scan-1")
    assert complaints == []
    assert window.page.evaluate("window.hacked") is None
    assert window.page.evaluate("document.querySelectorAll('main img, main b, svg a[href]').length") == 0
    assert HOSTILE in window.page.inner_text("body")


def test_pages_are_reached_by_keys_links_and_list(of_receiver, visit):
    window = visit()
    go(window, of_receiver, "overview")
    page = window.page
    for key, expected in (("n", "scan-1"), ("n", "scan-2"), ("p", "scan-1"), ("o", "overview")):
        page.keyboard.press(key)
        page.wait_for_selector(f"main[data-page='{expected}']")
    page.select_option("#pages", "scan-2")
    page.wait_for_selector("main[data-page='scan-2']")
    page.click("#brand")
    page.wait_for_selector("main[data-page='overview']")
    page.click("main a[href='#scan-1']")
    page.wait_for_selector("main[data-page='scan-1']")
    page.evaluate("location.hash = 'scan-77'")
    page.wait_for_selector("text=no page scan-77")


def test_the_theme_is_switched_by_hand(of_receiver, visit):
    window = visit("light")
    go(window, of_receiver, "scan-1")
    window.page.click("#theme")
    assert window.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert window.complain() == []


@pytest.fixture(scope="module")
def of_frame(folder):
    """Report with a spike of one channel in noise, and all kinds of figures."""
    values = np.random.default_rng(3).normal(size=(3, 8192))
    values[1, 5000] = SPIKE
    values[2, 100:200] = np.nan
    names = ["a", "b", "c"]
    made, mean = Envelope.of(values), Envelope.of(values.mean(axis=0))
    drawn = [Curve(name, made, k, name) for k, name in enumerate(names)]
    average = Curve("average", mean, error=Envelope.of(np.full(8192, 0.6)))
    axes = [Axis("Frequency [GHz]", 460.0, 464.0), Axis("Velocity [km/s]", values=np.linspace(50.0, -50.0, 8192))]
    points = Points(np.random.default_rng(4).normal(size=(3, 2, 40)))
    track = {"type": "scatter", "mode": "markers", "x": Column(points, 0), "y": Column(points, 1)}
    page = Page(
        "scan-1",
        "Scan 1",
        [
            section("Curves", curves([Panel("T [K]", [*drawn, average])], axes, "Spectra")),
            section(
                "Other",
                columns(
                    image(Raster(np.eye(40)), Axis("x", 0, 39), Axis("y", 0, 39), "value", is_square=True),
                    figure([track], {}, "Track"),
                ),
            ),
            section("Tabs", tabs({"first": [note("one")], "second": [figure([track], {}, "Second")]})),
            section("Rows", table(["n", "verdict"], [[1, badge("fail")], [2, badge("pass")]], filters=True)),
            section("More", table(["n"], [[k] for k in range(30)], first=5)),
        ],
        groups=names,
    )  # fmt: skip
    path = folder / "frame.html"
    with ReportDocument(path, "Frame", n_pages=1) as report:
        report.add_page(page)
        report.add_overview([table(["page"], [[link("one", "scan-1")]])])
    return path


def pause(page):
    """Make a pause in which the page goes on."""
    return lambda seconds: page.wait_for_timeout(1e3 * seconds)


def traces(page):
    """Numbers of points and extremes of the traces of the first figure."""
    return page.evaluate(
        "[...document.querySelector('.plot').data].map(t => [t.x.length, Math.max(...t.y.filter(v => v !== null))])"
    )


def test_a_spike_is_drawn_at_every_zoom_and_detail_grows_with_it(of_frame, visit):
    window = visit()
    assert go(window, of_frame, "scan-1")[0] == []
    assert max(high for _, high in traces(window.page)) == pytest.approx(SPIKE, rel=0.01)
    assert max(count for count, _ in traces(window.page)) < 4000
    window.page.click("[data-range]")  # the axis leaves it out until it is asked for
    wait_until(lambda: window.page.evaluate(LIMITS)[1] > 0.98 * SPIKE)
    window.page.evaluate(ZOOM)
    wait_until(lambda: 30 <= traces(window.page)[0][0] <= 200, pause(window.page))  # single channels
    assert max(high for _, high in traces(window.page)) == pytest.approx(SPIKE, rel=0.01)
    assert window.complain() == []


def test_groups_axes_tabs_and_tables_react(of_frame, visit):
    window = visit()
    go(window, of_frame, "scan-1")
    page = window.page
    before = len(traces(page))
    page.click("#groups .chips button >> nth=0")
    wait_until(lambda: len(traces(page)) < before, pause(page))
    page.click("figure .tools button >> text=Velocity")
    title = "document.querySelector('.plot').layout.xaxis.title.text"
    wait_until(lambda: page.evaluate(title) == "Velocity [km/s]", pause(page))
    page.click("[role=tab] >> text=second")
    page.wait_for_selector("[role=tabpanel] .main-svg")
    page.click(".filters button >> text=fail")
    assert page.locator(".filters + .scroll tbody tr").count() == 1
    assert page.locator("text=Show all 30 rows").count() == 1
    page.click("text=Show all 30 rows")
    assert page.locator("section:last-of-type tbody tr").count() == 30
    assert window.complain() == []


def test_it_can_be_printed(of_frame, visit, tmp_path):
    window = visit("dark")
    go(window, of_frame, "scan-1")
    window.page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 10_000
    assert window.complain() == []
