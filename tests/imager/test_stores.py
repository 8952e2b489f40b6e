"""The commands info, check, compare and replay for stores of the imager."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr
from astropy.table import Table

from cal_pipeline.cli.calibrate import main
from cal_pipeline.imager.check import check_store

pytestmark = pytest.mark.imager

GROUP = "exp_000003"


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def set_attribute(where, name, value):
    def change(store):
        edit_json(store / where / "zarr.json", lambda node: node["attributes"].__setitem__(name, value))

    return change


def flip(where):
    def change(store):
        (chunk,) = chunks_of(store / where)
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content)

    return change


def chunks_of(array):
    return [path for path in array.iterdir() if path.name.startswith("c.")]


def remove_chunks(where):
    def change(store):
        for path in chunks_of(store / where):
            path.unlink()

    return change


def rename_axes(where, *names):
    return lambda store: edit_json(
        store / where / "zarr.json", lambda node: node.__setitem__("dimension_names", list(names))
    )


def set_values(where, value):
    def change(store):
        array = zarr.open_array(store / where)
        values = array[...]
        values[..., 7, 9] = value
        array[...] = values

    return change


class TestCheck:
    def test_whole_stores_are_silent(self, visit, rate_store, cal_store, mosaic_store, capsys):
        for store, words in (
            (visit.visit, "ramp store, 6 exposures, 6 arrays"),
            (rate_store, "rate store, 6 exposures, 35 arrays"),
            (cal_store, "cal store, 3 exposures, 24 arrays"),
            (mosaic_store, "mosaic store, 1 mosaic, 4 arrays"),
        ):
            assert main(["check", str(store)]) == 0
            (line,) = capsys.readouterr().out.splitlines()
            assert words in line
            assert line.endswith("no fault")

    RAMP = {
        "type": (set_attribute(GROUP, "exp_type", ""), "attribute exp_type is '', expected text that is not empty"),
        "frame_time": (set_attribute(GROUP, "frame_time", -1.0), "-1.0, expected a number above 0 [s]"),
        "number": (set_attribute(GROUP, "exposure_number", 4), "exposure_number = 4, expected 3"),
        "pattern": (set_attribute(GROUP, "read_pattern", [[1], [2]]), "is 2 lists, expected 4 lists of reads"),
        "subarray": (
            set_attribute(GROUP, "subarray", {"xstart": 1, "ystart": 1, "xsize": 9}),
            "subarray.xsize is 9, expected 32",
        ),
        "unit": (set_attribute(f"{GROUP}/data", "units", "K"), "attribute units is 'K', expected 'adu'"),
        "packed": (set_attribute(f"{GROUP}/data", "scale_factor", 0.5), "scale_factor is 0.5, expected none"),
        "axes": (rename_axes(f"{GROUP}/data", "group", "integration", "y", "x"), "expected integration, group, y, x"),
        "bit": (flip(f"{GROUP}/data"), "chunk c"),
        "lost": (remove_chunks(f"{GROUP}/data"), "no such chunk in the store"),
        "kind": (set_attribute("", "product", "rates"), "attribute product = 'rates', expected 'ramp'"),
    }

    @pytest.mark.parametrize("kind", RAMP)
    def test_damage_of_a_visit_is_named(self, own_visit, kind):
        damage, words = self.RAMP[kind]
        damage(own_visit.visit)
        findings = list(map(str, check_store(own_visit.visit).findings))
        assert len(findings) == 1
        assert words in findings[0]

    def test_arrays_that_the_format_does_not_have(self, own_visit):
        zarr.create_array(own_visit.visit / GROUP / "extra", shape=(2,), dtype="f4", chunks=(2,))[...] = 1.0
        (finding,) = check_store(own_visit.visit).findings
        assert finding.path == f"{GROUP}/extra"

    IMAGE = {
        "nan": (set_values(f"{GROUP}/data", np.nan), "NaN or infinity not flagged DO_NOT_USE in 1 of 1024 samples"),
        "negative": (set_values(f"{GROUP}/err", -1.0), "a number below 0 in 1 of 1024 samples, the first at [7, 9]"),
        "integrations": (set_values("exp_000005/rateints/var_rnoise", -1.0), "the first at [2, 7, 9]"),
        "unit": (set_attribute(f"{GROUP}/var_poisson", "units", "electron"), "expected 'electron2 / s2'"),
        "flags": (set_attribute(f"{GROUP}/dq", "flag_masks", [1]), "attribute flag_masks"),
        "bit": (flip(f"{GROUP}/data"), "checksum"),
        "absent": (lambda store: shutil.rmtree(store / GROUP / "err"), "no such array"),
        "steps": (set_attribute(GROUP, "cal_step", None), "attribute cal_step = None, expected a mapping"),
        "provenance": (set_attribute(GROUP, "provenance", {"time": "now"}), "no engine_version in attribute"),
        "version": (set_attribute("", "cal_schema_version", "9"), "cal_schema_version = '9', expected '1.0'"),
        "failures": (lambda store: (store / "failures.json").write_text("{}"), "expected a list"),
        "run": (lambda store: (store / "run.json").unlink(), "no such file"),
        "member": (lambda store: (store / "notes.txt").write_text("x"), "groups exp_NNNNNN, six digits"),
    }

    @pytest.mark.parametrize("kind", IMAGE)
    def test_damage_of_a_product_is_named(self, rate_store, own_copy, kind):
        store = own_copy(rate_store)
        damage, words = self.IMAGE[kind]
        damage(store)
        findings = list(map(str, check_store(store).findings))
        assert findings
        assert any(words in finding for finding in findings)

    def test_selection_and_json(self, rate_store, mosaic_store, capsys):
        assert main(["check", str(rate_store), "--exposures", "3", "5", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["kind"], found["exposures"], found["arrays"]) == ("rate store", 2, 15)
        assert main(["check", str(mosaic_store), "--exposures", "FIELD_H"]) == 0
        assert main(["check", str(rate_store), "--exposures", "9"]) == 1
        assert "has no exposure 9; it has 1:6" in capsys.readouterr().err
        assert main(["check", str(rate_store), "--scans", "3"]) == 1
        assert "select exposures with --exposures" in capsys.readouterr().err

    def test_a_store_without_its_root_is_known_by_its_exposures(self, rate_store, own_copy):
        store = own_copy(rate_store)
        (store / "zarr.json").unlink()
        report = check_store(store)
        assert report.kind == "rate store"
        assert report.status == 1


class TestInfo:
    def test_a_visit(self, visit, capsys, monkeypatch):
        monkeypatch.setenv("CAL_PIPELINE_REFERENCES", str(visit.references))
        assert main(["info", str(visit.visit)]) == 0
        text = capsys.readouterr().out
        assert "exposure 5: SCI(tso) STAR H, SIMCAM SIM1" in text
        assert "3 integrations of 4 groups, 32 x 32 pixels, uint16" in text
        assert "1 read a group, 5 s a read" in text
        assert "detector1 (detector1.asdf), image2 (image2.asdf), image3 (image3.asdf)" in text
        assert max(map(len, text.splitlines())) <= 100
        assert main(["info", str(visit.visit), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["exp_type"] for row in rows] == ["DARK", "FLAT", "SCI", "SCI", "SCI", "SKY"]
        assert rows[2]["references"]["flat"] == "flat_H.asdf"
        assert rows[2]["shape"] == [1, 4, 32, 32]

    def test_problems_of_exposures_are_told(self, own_visit, capsys):
        set_attribute("exp_000001", "exp_type", "ARC")(own_visit.visit)
        set_attribute("exp_000002", "frame_time", 0.0)(own_visit.visit)
        assert main(["info", str(own_visit.visit)]) == 0
        text = capsys.readouterr().out
        assert "exp_type 'ARC' is not in the table; known are" in text
        assert "exposure 2: LayoutError:" in text

    def test_products(self, rate_store, cal_store, mosaic_store, capsys):
        for store, words in (
            (rate_store, ("rate store of 6 exposures; format 1.0", "saturation.asdf (sha256", "pass")),
            (cal_store, ("cal store of 3 exposures", "flat_H.asdf (sha256", "photom")),
            (mosaic_store, ("mosaic store of 1 mosaic", "FIELD_H", "3, 4")),
        ):
            assert main(["info", str(store)]) == 0
            text = capsys.readouterr().out
            assert [word for word in words if word not in text] == []
            assert max(map(len, text.splitlines())) <= 100
        assert main(["info", str(rate_store), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["kind"], found["run_state"]) == ("rate store", "finished")
        assert [image["image"] for image in found["images"]] == list(range(1, 7))
        assert found["images"][4]["verdict"] in ("pass", "questionable")

    def test_files(self, visit, tmp_path, capsys):
        from cal_pipeline.imager import RampModel

        file = RampModel.open(visit.visit / GROUP).save(str(tmp_path / "ramp.asdf"))
        assert main(["info", file]) == 0
        assert "exposure 3: SCI FIELD H, ramps written by a step" in capsys.readouterr().out
        assert main(["info", str(visit.references / "dark.asdf")]) == 0
        assert "dark.asdf: reference file of type dark" in capsys.readouterr().out


class TestCompareAndReplay:
    def test_integrations_are_compared(self, rate_store, own_copy, capsys):
        other = own_copy(rate_store)
        assert main(["compare", str(rate_store), str(other)]) == 0
        assert "all 35 arrays are identical" in capsys.readouterr().out
        set_values("exp_000005/rateints/data", 1e4)(other)
        assert main(["compare", str(rate_store), str(other)]) == 1
        assert "exp_000005/rateints/data" in capsys.readouterr().out
        assert main(["compare", str(rate_store), str(other), "--exposures", "1", "2"]) == 0

    def test_records_are_compared(self, rate_store, own_copy, capsys):
        other = own_copy(rate_store)

        def change(node):
            node["attributes"]["provenance"]["reference_files"][0]["sha256"] = "0" * 64
            node["attributes"]["provenance"]["parameters"]["steps"]["jump"]["threshold"] = 5.0
            node["attributes"]["qa"]["ramp_chi2"] = 1.5

        edit_json(other / GROUP / "zarr.json", change)
        shutil.rmtree(other / "exp_000001")
        assert main(["compare", str(rate_store), str(other)]) == 1
        text = capsys.readouterr().out
        assert "only in the first: exposure 1" in text
        assert "gain: gain.asdf (sha256" in text
        assert "steps.jump.threshold: 4.0 (cfg/detector1.asdf) -> 5.0" in text
        assert "chi² of the ramps" in text
        assert "[exposure 3]" in text

    def test_other_kinds_are_refused(self, visit, rate_store, cal_store, capsys):
        assert main(["compare", str(rate_store), str(cal_store)]) == 3
        assert "is a rate store and" in capsys.readouterr().err
        assert main(["compare", str(rate_store), "nowhere.zarr"]) == 3
        assert "nowhere.zarr is not there" in capsys.readouterr().err
        assert main(["compare", str(visit.visit), str(visit.visit)]) == 3

    @pytest.mark.parametrize(("store", "key"), [("rate", "5"), ("cal", "3"), ("mosaic", "FIELD_H")])
    def test_replay_is_the_same_bit_by_bit(self, rate_store, mosaic_store, store, key, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(["replay", str(rate_store.with_name(f"{store}.zarr")), key]) == 0
        text = capsys.readouterr().out
        assert "arrays are identical" in text
        assert "the recorded parameters, reference files, results and verdicts are the same" in text

    def test_replay_finds_the_references_of_a_run_elsewhere(self, visit, tmp_path, monkeypatch, capsys):
        from cal_pipeline import Detector1Pipeline

        monkeypatch.chdir(visit.visit.parent)
        output = str(tmp_path / "rate.zarr")
        settings = {"output_file": output, "references": "visit.references", "exposures": [3]}
        Detector1Pipeline.call(str(visit.visit), **settings, configure_log=False)
        monkeypatch.chdir(tmp_path)
        assert main(["replay", output, "3"]) == 0
        assert "all 5 arrays are identical" in capsys.readouterr().out

    def test_replay_of_what_is_not_there(self, visit, rate_store, capsys):
        assert main(["replay", str(rate_store), "9"]) == 1
        assert "has no exposure 9" in capsys.readouterr().err
        assert main(["replay", str(visit.visit), "1"]) == 1
        assert "ramp store, which no pipeline makes" in capsys.readouterr().err


def test_the_table_of_quality_figures(rate_store, cal_store):
    for store, numbers in ((rate_store, [1, 2, 3, 4, 5, 6]), (cal_store, [3, 4, 5])):
        table = Table.read(store.with_name(f"{store.stem}_quality.ecsv"))
        assert list(table["exposure"]) == numbers
        assert table.colnames == [
            *("exposure", "exp_type", "target", "filter", "detector"),
            *("ramp_chi2", "saturated_fraction", "jump_fraction", "bad_fraction", "verdict", "checks"),
        ]
        attributes = zarr.open_group(store, mode="r")["exp_000004"].attrs
        row = table[list(table["exposure"]).index(4)]
        assert row["ramp_chi2"] == attributes["qa"]["ramp_chi2"]
        assert row["target"] == "FIELD"
