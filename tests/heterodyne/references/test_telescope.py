"""Telescope profiles."""

from __future__ import annotations

import os

import pytest

from cal_pipeline.heterodyne.references.telescope import (
    TelescopeProfileError,
    find_profile,
    open_profile,
    shipped_profiles,
)
from cal_pipeline.heterodyne.simulate.presets import PRESETS

PROFILE = """
name = "T800"
aliases = ["T8*"]
frequency_range_hz = [100e9, 900e9]
t_cold_default_K = 80
saturation_counts = 4e9

[site]
latitude_deg = -23.0
longitude_deg = -67.5
altitude_m = 5000

[[frontend]]
name = "RX*"
frequency_range_hz = [400e9, 500e9]
forward_efficiency = 0.9
beam_efficiency = 0.7
reference = "measured"
"""


@pytest.fixture
def write(tmp_path):
    def to_file(text):
        path = tmp_path / "t800.toml"
        path.write_text(text)
        return path

    return to_file


def test_a_profile_is_read(write):
    profile = open_profile(write(PROFILE))
    assert (profile.name, profile.t_cold_default_K, profile.site.altitude_m) == ("T800", 80.0, 5000.0)
    assert profile.saturation_counts == 4e9
    assert len(profile.sha256) == 64
    assert profile.frontend("rx1", 1.0).forward_efficiency == 0.9
    assert profile.frontend(None, 450e9).beam_efficiency == 0.7
    assert profile.frontend(None, 600e9) is None
    assert profile.frontend("other", 450e9) is None


def test_the_frequency_decides_where_a_name_suits_several(write):
    second = (
        PROFILE[PROFILE.index("[[frontend]]") :]
        .replace('"RX*"', '["RX*", "HIGH"]')
        .replace("[400e9, 500e9]", "[700e9, 800e9]")
    )
    profile = open_profile(write(PROFILE + second))
    assert profile.frontend("RX", 450e9) == profile.frontends[0]
    assert profile.frontend("RX", 750e9) == profile.frontends[1]
    assert profile.frontend("RX", 600e9) is None
    assert profile.frontend("high", 600e9) == profile.frontends[1]


def test_a_profile_that_changed_is_read_again(write):
    path = write(PROFILE)
    assert open_profile(path) is open_profile(path)
    before = path.stat().st_mtime_ns
    write(PROFILE.replace("T800", "T900"))
    os.utime(path, ns=(before + 1, before + 1))
    assert open_profile(path).name == "T900"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("aliases", "alias"), "alias is not known; did you mean 'aliases'"),
        (("forward_efficiency = 0.9", ""), r"frontend\[0\].forward_efficiency is missing"),
        (("forward_efficiency = 0.9", "forward_efficiency = 95"), r"frontend\[0\].forward_efficiency is 95"),
        (("= -23.0", '= "south"'), "site.latitude_deg is 'south', expected a finite number from -90"),
        (("[400e9, 500e9]", "[500e9, 400e9]"), r"frequency_range_hz is \[500"),
        (("[400e9, 500e9]", "[500e9]"), "lowest, highest"),
        (("altitude_m = 5000", ""), "site.altitude_m is missing"),
        (('"T800"', "T800"), "cannot be read"),
        (('"T800"', "800"), "name is 800, expected text"),
        (("-23.0", "-230.0"), "site.latitude_deg is -230"),
        (("= 80", "= inf"), "t_cold_default_K is inf, expected a finite number"),
        (("= 4e9", "= 0"), "saturation_counts is 0, expected a finite number above 0 in ct"),
        (("= 0.7", "= 0.95"), "beam_efficiency is 0.95, expected at most the forward_efficiency"),
        (("[[frontend]]", "[frontend]"), r"expected \[\[frontend\]\]"),
    ],
)
def test_what_is_wrong_is_named(write, change, words):
    with pytest.raises(TelescopeProfileError, match=words):
        open_profile(write(PROFILE.replace(*change)))


def test_a_single_alias_needs_no_brackets(write):
    assert open_profile(write(PROFILE.replace('["T8*"]', '"T8*"'))).aliases == ("T8*",)


def test_a_site_that_is_no_table(write):
    head = PROFILE[: PROFILE.index("[site]")]
    with pytest.raises(TelescopeProfileError, match="site is 3, expected a table of altitude_m"):
        open_profile(write(head + "site = 3"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TelescopeProfileError, match=r"nothing\.toml cannot be read"):
        open_profile(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("telescope", "name"),
    [
        ("CCAT", "CCAT"),
        ("fyst", "CCAT"),
        ("CCAT/FYST", "CCAT"),
        ("SOFIA", "SOFIA"),
        ("GBT", "GBT"),
        ("APEX", "generic"),
    ],
)
def test_the_profile_of_a_telescope(telescope, name):
    assert open_profile(find_profile(telescope)).name == name


@pytest.mark.parametrize(
    ("telescope", "frontend", "frequency", "name"),
    [
        ("CCAT", "CHAI", 461e9, "CHAI*LFA*"),
        ("CCAT", "CHAI", 809e9, "CHAI*HFA*"),
        ("SOFIA", "upGREAT", 4744.8e9, "HFA*"),
        ("SOFIA", "LFAV_PX00", 2500e9, "LFA*"),
        ("SOFIA", None, 2500e9, "4GREAT*"),
    ],
)
def test_frontends_by_the_names_in_use(telescope, frontend, frequency, name):
    assert open_profile(find_profile(telescope)).frontend(frontend, frequency).names[0] == name


def test_nothing_recorded_is_any_telescope():
    profile = open_profile(find_profile(None))
    assert profile.name == "generic"
    assert profile.frontend("LFA", 1.9e12) is None
    assert profile.t_cold_default_K is None
    assert profile.saturation_counts is None


@pytest.mark.parametrize("path", shipped_profiles(), ids=lambda path: path.stem)
def test_frontends_lie_in_the_range_of_their_telescope(path):
    profile = open_profile(path)
    for frontend in profile.frontends:
        assert profile.frequency_range_hz[0] <= frontend.frequency_range_hz[0]
        assert frontend.frequency_range_hz[1] <= profile.frequency_range_hz[1]


@pytest.mark.parametrize("name", PRESETS)
def test_simulated_telescopes_are_those_of_the_profiles(name):
    config = PRESETS[name]()
    profile = open_profile(find_profile(config.telescope.name))
    assert profile.site.latitude_deg == pytest.approx(config.telescope.latitude_deg, abs=0.01)
    assert profile.t_cold_default_K == pytest.approx(config.loads.t_cold)
    for receiver in config.receivers:
        frontend = profile.frontend(receiver.name, receiver.signal_freq)
        assert frontend.forward_efficiency == receiver.forward_efficiency
        assert frontend.covers(receiver.signal_freq)
