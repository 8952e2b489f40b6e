"""The command `calibrate which`."""

from __future__ import annotations

import json

import pytest
import zarr

from cal_pipeline.cli.calibrate import main

pytestmark = pytest.mark.imager

TYPES = [("SCI", False), ("SCI", True), ("SKY", False), ("DARK", False), ("FLAT", False)]


@pytest.fixture
def make_store(tmp_path):
    def make(types, product="ramp"):
        root = zarr.create_group(tmp_path / "visit.zarr", attributes={"product": product})
        for number, (exp_type, tso) in enumerate(types, 1):
            attributes = {
                "exposure_number": number,
                "exp_type": exp_type,
                "tso": tso,
                "instrument": "IRIS",
                "detector": "A",
                "filter": "H",
                "date_obs": "2026-11-30T02:15:00",
                "frame_time": 2.0,
            }
            root.create_group(f"exp_{number:06d}", attributes=attributes)
        return str(tmp_path / "visit.zarr")

    return make


@pytest.mark.parametrize("product", ["ramp", "rate", "cal"])
def test_pipelines_as_json(make_store, capsys, product):
    assert main(["which", make_store(TYPES, product), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [tuple(row) for row in rows] == [
        ("exposure", "exp_type", "tso", "stage1", "stage2", "stage3", "reason"),
    ] * len(TYPES)
    assert [(row["exposure"], row["exp_type"], row["tso"]) for row in rows] == [
        (number, *of) for number, of in enumerate(TYPES, 1)
    ]
    assert [(row["stage2"], row["stage3"]) for row in rows] == [
        ("image2", "image3"),
        ("image2", ""),
        ("image2", ""),
        ("preprocess_dark", ""),
        ("preprocess_flatfield", ""),
    ]
    assert rows[1]["reason"].startswith("row SCI, tso true of exposure_types.toml (time series")


def test_pipelines_as_a_table(make_store, capsys):
    assert main(["which", make_store(TYPES)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line[: head.index("reason")].split() for line in (head, lines[0], lines[3])] == [
        ["exposure", "exp_type", "tso", "stage1", "stage2", "stage3"],
        ["1", "SCI", "false", "detector1", "image2", "image3"],
        ["4", "DARK", "false", "detector1", "preprocess_dark", "-"],
    ]
    assert {line[head.index("reason") :].split()[0] for line in lines} == {"row"}


def test_unknown_types_are_told_on_standard_error(make_store, capsys, tmp_path):
    store = make_store([("SCI", False), ("LAMP", False)])
    assert main(["which", store, "--json"]) == 1
    shown = capsys.readouterr()
    assert [row["exposure"] for row in json.loads(shown.out)] == [1]
    assert shown.err == (
        "calibrate which: exposure 2: exp_type 'LAMP' is not in the table; known are DARK, FLAT, SCI, SKY\n"
    )
    table = tmp_path / "mine.toml"
    table.write_text('[[exposure]]\nexp_type = "LAMP"\nstage1 = "detector1"')
    assert main(["which", store, "--table", str(table), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1]["reason"] == "row LAMP of mine.toml, stage1 with cfg/detector1.asdf"


def test_damaged_exposures_are_told_and_the_others_listed(make_store, capsys):
    store = make_store(TYPES)
    zarr.open_group(f"{store}/exp_000002").attrs["frame_time"] = -1.0
    assert main(["which", store]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == len(TYPES)
    assert "exp_000002: attribute frame_time is -1.0, expected a number above 0 [s]" in shown.err


@pytest.mark.parametrize(
    "arguments", [["which"], ["which", "nowhere.zarr"], ["which", "STORE", "--table", "none.toml"]]
)
def test_wrong_invocations_end_with_a_message(make_store, capsys, arguments):
    store = make_store(TYPES)
    assert main([store if word == "STORE" else word for word in arguments]) == 1
    message = capsys.readouterr().err
    assert message.startswith("calibrate")
    assert "Traceback" not in message


def test_calibrate_says_what_is_for_it(make_store, capsys):
    store = make_store(TYPES)
    assert main([store, "-o", "l1.zarr"]) == 1
    assert f"{store} is a store of an imager, and calibrate is for receivers" in capsys.readouterr().err


def test_exposures_that_go_the_same_way_share_a_line(make_store, capsys):
    assert main(["which", make_store([("SCI", False)] * 3 + [("DARK", False)])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["exposure", "1:3", "4"]
