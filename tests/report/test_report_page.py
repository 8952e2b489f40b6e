"""The frame of reports: packing within a budget, nothing left out, text that stays text, one file without a network."""

from __future__ import annotations

import base64
import hashlib
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cal_pipeline.errors import OutputExistsError
from cal_pipeline.report.page.arrays import Column, Envelope, Exact, Points, Raster, choose_step
from cal_pipeline.report.page.blocks import Axis, Curve, Page, Panel, curves, figure, link, section, table, text
from cal_pipeline.report.page.document import ReportDocument
from cal_pipeline.report.page.payload import Markup, pack
from tests.helpers_report import HOSTILE, Payload, Report


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape)


@pytest.mark.parametrize("count", [1, 7, 100, 8192])
def test_an_envelope_at_full_detail_comes_back_within_a_sixteenth_of_the_noise(count):
    values = noise(3, count) * 0.25 + 400.0
    found = Payload(pack({"curve": Envelope.of(values)}).text)
    (decoded,) = found.array(found.content["curve"]["$array"])
    assert np.abs(decoded - values).max() <= 0.5 * choose_step(values)
    assert choose_step(values) < 0.25 / 8


def test_a_spike_of_one_channel_is_in_the_most_reduced_envelope():
    values = noise(4, 8192)
    values[2, 4711] = 1e4
    values[3, 17] = -1e4
    packed = pack({"curve": Envelope.of(values)}, budget=900)
    found = Payload(packed.text)
    low, high, mean = found.array(0)
    assert packed.n_halvings >= 5
    assert len(packed.text) <= 900
    per = found.arrays[0]["per"]
    assert high[2, 4711 // per] == pytest.approx(1e4, rel=1e-3)
    assert low[3, 17 // per] == pytest.approx(-1e4, rel=1e-3)
    assert (low <= high).all()
    assert mean.shape[-1] * per >= 8192


@pytest.mark.parametrize("halvings", [0, 1, 6])
@pytest.mark.parametrize("spike", [1e3, -1e5, 1e8])
@pytest.mark.parametrize("curve", [noise(1, 4096) * 0.3, 220.0 + 5.0 * np.sin(np.arange(4096.0) / 600.0)[None]])
def test_a_spike_neither_is_cut_off_nor_makes_the_other_channels_coarse(curve, spike, halvings):
    values = curve.copy()
    values[0, 1001] = spike
    envelope = Envelope.of(values)
    for _ in range(halvings):
        envelope = envelope.halved()
    low, *rest = Payload(pack({"curve": envelope}).text).array(0)
    high = rest[0] if rest else low
    found = (low if spike < 0 else high)[0, 1001 // envelope.per_bin]
    assert found == pytest.approx(spike, rel=1e-3)
    others = np.arange(low.shape[-1]) != 1001 // envelope.per_bin
    # A quarter of the change from bin to bin, or a thousandth of the range.
    step = max(np.median(np.abs(np.diff(envelope.low[0]))) / 4, np.ptp(curve) / 1000)
    assert np.abs(low - envelope.low)[0, others].max() <= 0.5 * step
    assert np.abs(high - envelope.high)[0, others].max() <= 0.5 * step


@given(
    arrays(
        np.float64, st.tuples(st.integers(1, 3), st.integers(1, 70)), elements=st.floats(-1e6, 1e6) | st.just(np.nan)
    ),
    st.integers(0, 4),
)
@settings(max_examples=25, deadline=None)
def test_extremes_of_bins_are_those_of_their_channels(values, halvings):
    envelope = Envelope.of(values)
    for _ in range(halvings):
        envelope = envelope.halved()
    for k in range(envelope.low.shape[-1]):
        part = values[:, k * envelope.per_bin : (k + 1) * envelope.per_bin]
        assert np.array_equal(envelope.low[:, k], np.fmin.reduce(part, axis=1), equal_nan=True)
        assert np.array_equal(envelope.high[:, k], np.fmax.reduce(part, axis=1), equal_nan=True)


@given(arrays(np.float64, (2, 40), elements=st.floats(-1e9, 1e9) | st.just(np.nan)))
@example(np.where(np.arange(80).reshape(2, 40) == 0, 1e-45, 0.0))
@settings(max_examples=25, deadline=None)
def test_rounding_is_at_most_half_a_step_and_nan_stays_nan(values):
    packed = Payload(pack({"image": Raster(values)}).text)
    (found,) = packed.array(0)
    assert np.array_equal(np.isnan(found), np.isnan(values))
    step = packed.arrays[0]["arrays"][0].get("step")
    # Without a step the numbers are floats of 32 bits.
    allowed = 6e-8 * np.nanmax(np.abs(values), initial=0.0) if step is None else 0.501 * step + 1e-6
    assert np.nanmax(np.abs(found - values), initial=0.0) <= allowed


@pytest.mark.parametrize(
    ("reduction", "expected"), [("mean", 3.0), ("max", 9.0), ("extreme", 9.0), ("or", 11)]
)  # fmt: skip
def test_images_are_reduced_as_asked(reduction, expected):
    values = np.full((32, 64), 3)
    values[10, 20] = 9
    image = Raster(values if reduction == "or" else values.astype(float), reduction).halved()
    assert image.values.shape == (32, 32)
    assert image.values[10, 10] == (6.0 if reduction == "mean" else expected)
    assert image.per == (1, 2)


def test_points_keep_to_their_rows_when_they_are_averaged():
    track = np.stack([np.stack([np.arange(5.0), 100 + np.arange(5.0)]), np.zeros((2, 5))])
    reduced = Points(track).halved().halved()
    assert reduced.values[0].tolist() == [[1.5, 4.0], [101.5, 104.0]]


def test_an_array_that_occurs_twice_is_packed_once():
    points = Points(noise(2, 3, 4))
    found = Payload(pack({"x": Column(points, 0), "y": Column(points, 1)}).text)
    assert len(found.arrays) == 1
    assert found.content == {"x": {"$array": 0, "column": 0}, "y": {"$array": 0, "column": 1}}


def test_the_weight_decides_what_is_reduced_first():
    content = {"main": Envelope.of(noise(1, 8192), weight=40.0), "others": Envelope.of(noise(1, 8192))}
    found = Payload(pack(content, 14_000).text)
    assert found.arrays[0]["per"] < found.arrays[1]["per"]


def test_exact_numbers_come_back_bit_by_bit():
    values = np.array([1e300, -0.0, np.nan, 1 / 3])
    assert Payload(pack({"x": Exact(values)}).text).array(0)[0].tobytes() == values.tobytes()


def test_text_in_figures_is_escaped_unless_it_is_ours():
    block = figure([{"name": HOSTILE, "text": [HOSTILE]}], {"title": {"text": Markup("T<sub>sys</sub>")}}, HOSTILE)
    content = Payload(pack({"blocks": [block]}).text).content["blocks"][0]
    assert "<" not in content["traces"][0]["name"] + content["traces"][0]["text"][0]
    assert content["layout"]["title"]["text"] == "T<sub>sys</sub>"
    assert content["title"] == HOSTILE  # no figure of plotly's, but text of an element


def test_control_characters_are_escaped_and_numbers_that_are_none_are_null():
    content = Payload(pack({"a": "x\x1b[2J\u202e", "b": [float("nan"), float("inf"), np.float64(2.0)]}).text).content
    assert content == {"a": "x\\x1b[2J\\u202e", "b": [None, None, 2.0]}


@pytest.fixture
def written(tmp_path):
    curve = Envelope.of(noise(2, 4096))
    drawn = curves([Panel("T [K]", [Curve("a", curve, 0, "PX0")])], [Axis("Frequency [GHz]", 1, 2)], "Spectra")
    with ReportDocument(
        tmp_path / "r.html", HOSTILE, HOSTILE, n_pages=2, of="night l1.zarr", limit=2_300_000
    ) as report:
        for k in range(2):
            report.add_page(
                Page(f"scan-{k}", HOSTILE, [section(HOSTILE, drawn)], verdict="pass", groups=["PX0", HOSTILE])
            )
        report.add_overview([text(HOSTILE), table(["scan"], [[link(HOSTILE, "scan-0")]])])
    return tmp_path / "r.html"


def test_a_report_is_one_file_without_any_address(written):
    report = Report(written)
    assert report.pages == ["scan-0", "scan-1", "overview"]
    loaded = [
        given
        for tag, given in report.elements
        if tag in ("link", "img", "iframe", "script") and ("src" in given or "href" in given)
    ]
    assert loaded == []
    assert [given["href"] for tag, given in report.elements if tag == "a"] == [
        "#",
        "#overview",
        "#overview",
        "#overview",
    ]
    assert written.stat().st_size < 2_300_000


def test_the_policy_allows_our_scripts_alone(written):
    report = Report(written)
    policy = report.meta("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert "unsafe-eval" not in policy
    script = re.findall(r"<script>(.*?)</script>", report.source, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy


def test_hostile_titles_open_no_element(written):
    assert [tag for tag, _ in Report(written).elements if tag in ("img", "b")] == []


def test_the_file_says_that_it_needs_javascript(written):
    assert "JavaScript" in "".join(Report(written).text)
    assert any(tag == "noscript" for tag, _ in Report(written).elements)


def test_an_existing_file_is_replaced_only_if_allowed_and_only_as_a_whole(written):
    before = written.read_bytes()
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        ReportDocument(written, "Night")
    with pytest.raises(RuntimeError), ReportDocument(written, "Night", overwrite=True):
        raise RuntimeError("in between")
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]
    with pytest.raises(OutputExistsError, match="folder"):
        ReportDocument(written.parent, "Night", overwrite=True)


def test_what_a_page_leaves_of_its_share_goes_to_later_pages(tmp_path):
    big = Envelope.of(noise(12, 8192))
    with ReportDocument(tmp_path / "empty.html", "Night", n_pages=4) as report:
        report.add_overview([])
    # The size of plotly.js differs from release to release; the pages have the rest.
    limit = (tmp_path / "empty.html").stat().st_size + 339_000
    sizes = {}
    for name, first in (("even", big), ("uneven", Envelope.of(noise(1, 16)))):
        with ReportDocument(tmp_path / f"{name}.html", "Night", n_pages=4, limit=limit) as report:
            for k, curve in enumerate((first, first, first, big)):
                report.add_page(
                    Page(f"scan-{k}", "Scan", [curves([Panel("T", [Curve("a", curve)])], [Axis("f", 0, 1)])])
                )
            report.add_overview([])
        assert (tmp_path / f"{name}.html").stat().st_size < limit
        sizes[name] = len(Report(tmp_path / f"{name}.html").payloads["page-scan-3"])
    assert sizes["uneven"] > 1.3 * sizes["even"]
