"""The preview of an ingest tells of each file what would become of it, and why."""

from __future__ import annotations

import pytest
from helpers_ingest_files import WHOLE, snapshot, truncate, write_file, write_files, write_profile

from cal_pipeline.errors import IngestError, StoreError
from cal_pipeline.heterodyne.ingest.overview import FileLine
from cal_pipeline.ingest import ingest, preview_ingest


@pytest.fixture
def night(tmp_path):
    """A session of scans 3 and 4, whose files have changed, and files that were added."""
    files, profile = tmp_path / "night", write_profile(tmp_path)
    write_files(files, 3, 4, phases=WHOLE)
    ingest(files, tmp_path / "out" / "night.zarr", profile, threads=1)
    write_files(files, 4, phases=WHOLE, value=1.0)
    write_files(files, 5, phases="HCTTBA", source="a\x1b[2Jb")
    write_files(files, 6, phases="BX")
    (files / "\x1b[31mnotes.fits").write_text("no FITS file")
    truncate(*write_files(files, 7))
    return lambda **settings: preview_ingest(files, tmp_path / "out" / "night.zarr", profile, threads=1, **settings)


def lines_of(overview, title):
    """Find the cells of the table with a title."""
    table = next(part for part in overview.format_text().split("\n\n") if part.startswith(title))
    return [[cell.strip() for cell in line.split("  ") if cell] for line in table.split("\n")[1:]]


def test_each_file_and_scan_has_its_fate(night, tmp_path):
    before = snapshot(tmp_path / "out" / "night.zarr")
    overview = night()
    assert snapshot(tmp_path / "out" / "night.zarr") == before
    assert overview.fates == {3: "kept", 4: "refused", 5: "added", 6: "failed", 7: "failed"}
    assert overview.status == 2
    loads = "2 COLD, 2 HOT"
    assert lines_of(overview, "file") == [
        [
            "000003_barge.fits",
            "3",
            f"{loads}, 4 OFF, 4 ON",
            "kept: source 0:3, calibration 0, 1",
        ],
        [
            "000004_barge.fits",
            "4",
            f"{loads}, 4 OFF, 4 ON",
            "refused: source 0:3, calibration 0, 1",
        ],
        ["000005_barge.fits", "5", f"{loads}, 2 OFF, 2 ON", "added: source 0, 1, calibration 0, 1"],
        ["000006_barge.fits", "6", "2 without phase, 2 OFF", "failed"],
        ["000007_barge.fits", "7", "1 without phase", "failed"],
    ]
    scans = lines_of(overview, "scan")
    assert scans[2] == ["5", "added", "a\\x1b[2Jb", "1 OFF, 1 ON, 1 HOT, 1 COLD, 2 pixels x 16 channels"]
    assert scans[3:] == [["6", "failed", "-", "-"], ["7", "failed", "-", "-"]]
    assert lines_of(overview, "left out") == [["4 rows", "000005_barge.fits", "PHASE is 'T': ignored"]]
    failures = lines_of(overview, "failed")
    assert [line[:2] for line in failures] == [
        ["-", "\\x1b[31mnotes.fits"],
        ["scan 4", "-"],
        ["scan 6", "000006_barge.fits"],
        ["scan 7", "000007_barge.fits"],
    ]
    assert failures[1][2].startswith("OutputExistsError: scan 4 is in ")
    assert "PHASE is 'X'" in failures[2][2]
    assert (
        overview.format_text()
        .splitlines()[-1]
        .endswith(
            "night.zarr, by the profile barge: 1 scan would be kept, 1 scan would be refused, 1 scan would be added, "
            "2 scans would fail; nothing was written"
        )
    )
    assert "\x1b" not in overview.text


def test_the_choice_of_scans_and_overwriting_show(night):
    chosen = night(scans="3,4", overwrite=True)
    assert chosen.fates == {3: "kept", 4: "replaced", 5: "not asked for", 6: "not asked for", 7: "not asked for"}
    assert [line[-1] for line in lines_of(chosen, "file")][2:] == ["not asked for"] * 3
    assert [failure.scan_number for failure in chosen.failures] == [None]
    assert night(scans="6,7").status == 1


def test_many_files_of_one_phase_share_a_line(tmp_path):
    files = tmp_path / "night"
    files.mkdir()
    for place in range(4):
        write_file(files / f"3_{place}.fits", 3, phases="T" * place + "A")
    write_file(files / "3_z.fits", 3, phases="TTTTTB")
    write_file(files / "4_z.fits", 4, phases="AB")
    overview = preview_ingest([files], tmp_path / "night.zarr", write_profile(tmp_path), threads=1)
    group = "source"
    assert overview.files == (
        FileLine(tuple(f"3_{place}.fits" for place in range(4)), 3, {"ON": 8}, "added", {group: (0, 1, 2, 3)}),
        FileLine(("3_z.fits",), 3, {"OFF": 2}, "added", {group: (4,)}),
        FileLine(("4_z.fits",), 4, {"OFF": 2, "ON": 2}, "added", {"source": (0, 1)}),
    )
    assert lines_of(overview, "file")[0] == ["4 files, 3_0.fits to 3_3.fits", "3", "8 ON", f"added: {group} 0:3"]
    assert (overview.status, overview.failures) == (0, ())


def test_tables_fit_a_terminal_of_80_columns(night):
    overview = night()
    assert repr(overview) == str(overview) == overview.text
    lines = overview.text.splitlines()
    folder = overview.session.removesuffix("night.zarr")
    assert max(len(line.replace(folder, "")) for line in lines) <= 80
    # The line of a row goes on in its column, and all words are there, those of the paths cut.
    at = next(n for n, line in enumerate(lines) if line.startswith("000004_barge.fits"))
    assert [line.split() for line in lines[at : at + 2]] == [
        ["000004_barge.fits", "4", "2", "COLD,", "2", "HOT,", "4", "OFF,", "4", "ON", "refused:", "source", "0:3,"],
        ["calibration", "0,", "1"],
    ]
    assert lines[at].index("refused") == lines[at + 1].index("calibration")
    squeezed = ["".join(text.split()) for text in (overview.text, overview.format_text())]
    assert len(squeezed[0]) == len(squeezed[1])


def test_files_stay_in_order_though_some_share_a_line(tmp_path):
    files = tmp_path / "night"
    files.mkdir()
    for place in range(5):
        write_file(files / f"b{place}.fits", 3, phases="T" * place + "A")
    for name, numbers in {"a.fits": 4, "c.fits": 6}.items():
        write_file(files / name, numbers, phases="HCAB")
    write_file(files / "d.fits", 5, phases="HCAB")
    overview = preview_ingest([files], tmp_path / "night.zarr", write_profile(tmp_path), threads=1)
    assert [line.files[0] for line in overview.files] == ["a.fits", "b0.fits", "c.fits", "d.fits"]
    assert [line.scan for line in overview.files] == [4, 3, 6, 5]


def test_fields_that_no_row_has_are_told_with_their_keys(tmp_path):
    write_files(tmp_path / "night", 3, phases=WHOLE)
    write_files(tmp_path / "night", 4, phases="BX")
    profile = write_profile(tmp_path, "azimuth = { value = 1.5 }", 'azimuth = ["AZ", { key = "AZIMUT", unit = "deg" }]')
    profile.write_text(
        profile.read_text()
        .replace("schema = 1", 'schema = 1\ncarry = ["OBSERVER", "PROJ-ID"]')
        .replace('source = "OBJECT"', 'source = "OBJECT"\nline = "LIEN"')
    )
    overview = preview_ingest([tmp_path / "night"], tmp_path / "night.zarr", profile, threads=1)
    assert overview.absent == {"line": ("LIEN",), "azimuth": ("AZ", "AZIMUT"), "proj_id": ("PROJ-ID",)}
    assert lines_of(overview, "in no row") == [["line", "LIEN"], ["azimuth", "AZ, AZIMUT"], ["proj_id", "PROJ-ID"]]


def test_scans_may_be_asked_for_by_the_number_of_the_telescope(tmp_path):
    write_files(tmp_path / "night", 3, 5, phases=WHOLE)
    profile = write_profile(tmp_path, 'number = "SCAN"', 'number = { key = "SCAN", plus = -1 }')

    def choose(scans):
        overview = preview_ingest([tmp_path / "night"], tmp_path / "night.zarr", profile, scans, threads=1)
        return [number for number, fate in overview.fates.items() if fate == "added"]

    assert [choose(scans) for scans in ("3", "2", "5", "3:5")] == [[2], [2], [4], [2, 4]]
    with pytest.raises(StoreError, match="night has no scan 6; it has 2:5"):
        choose("6")


def test_rows_that_do_not_match_are_counted_over_all_files(tmp_path):
    write_files(tmp_path / "night", *range(1, 6), phases=WHOLE)
    profile = write_profile(tmp_path, "crew", "nobody")
    expected = r"60 rows of 000001_barge.fits, 000002_barge.fits and 3 more left out, OBSERVER is 'crew', expected 'no"
    with pytest.raises(IngestError, match=expected):
        preview_ingest([tmp_path / "night"], tmp_path / "night.zarr", profile, threads=1)
