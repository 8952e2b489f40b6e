"""Files in folders, and the choice of a profile."""

from __future__ import annotations

import os

import numpy as np
import pytest
from helpers_fits import dish_columns, make_table, write_image, write_profile, write_table

from cal_pipeline.heterodyne.ingest.errors import IngestError, ProfileError
from cal_pipeline.heterodyne.ingest.find_files import choose_profile, find_files
from cal_pipeline.heterodyne.ingest.profile import open_profile


@pytest.fixture
def profile(tmp_path):
    return open_profile(write_profile(tmp_path / "my.toml"))


def test_files_and_folders_on_all_levels(tmp_path, profile):
    deep = tmp_path / "night" / "b" / "c"
    deep.mkdir(parents=True)
    for name in ("night/2.fits", "night/b/c/1.fits", "night/notes.txt", "other.sdf"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "night" / "link.fits").symlink_to(tmp_path / "night" / "2.fits")
    # A file that is named is taken whatever its name, and each file once.
    found = find_files([tmp_path / "other.sdf", str(tmp_path / "night"), tmp_path / "night" / "2.fits"], profile)
    names = [os.path.relpath(path, tmp_path) for path in found]
    assert sorted(names) == names
    assert names == ["night/2.fits", "night/b/c/1.fits", "other.sdf"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "no file or folder is given"),
        (["nigth"], "nigth is not there; did you mean 'night'?"),
        (["night/x.fits"], r"x\.fits is not there"),
        (["none/x.fits"], r"x\.fits is not there$"),
        (["night"], r"night holds no file of profile dish, expected names like \*\.fits"),
    ],
)
def test_what_is_not_there(tmp_path, profile, paths, message):
    (tmp_path / "night").mkdir()
    with pytest.raises(IngestError, match=message):
        find_files([tmp_path / path for path in paths], profile)


def test_a_file_has_its_own_name_though_a_link_is_found_first(tmp_path, profile):
    (tmp_path / "z.fits").write_bytes(b"")
    (tmp_path / "a.fits").symlink_to("z.fits")
    for paths in ([tmp_path], [tmp_path / "a.fits", tmp_path / "z.fits"], [tmp_path / "z.fits", tmp_path]):
        assert find_files(paths, profile) == [str(tmp_path / "z.fits")]
    assert find_files([tmp_path / "a.fits"], profile) == [str(tmp_path / "a.fits")]


def test_links_to_folders_are_followed_once(tmp_path, profile):
    archive, night = tmp_path / "archive", tmp_path / "night"
    for folder in (archive, night):
        folder.mkdir()
    (archive / "1.fits").write_bytes(b"")
    (archive / "up").symlink_to(night)
    (night / "copied").symlink_to(archive)
    (night / "self").symlink_to(".")
    assert find_files([night], profile) == [str(night / "copied" / "1.fits")]


def test_a_dead_link_in_a_folder_is_a_bad_file_and_stops_no_other(tmp_path, profile):
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "b.fits").write_bytes(b"")
    (tmp_path / "night" / "a.fits").symlink_to("gone.fits")
    assert [os.path.basename(path) for path in find_files([tmp_path / "night"], profile)] == ["a.fits", "b.fits"]
    with pytest.raises(IngestError, match=r"a\.fits is a link to nothing$"):
        find_files([tmp_path / "night" / "a.fits"], profile)


def test_a_folder_that_cannot_be_read_is_told(tmp_path, profile, monkeypatch, caplog):
    for name in ("1.fits", "closed/2.fits"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_files([tmp_path], profile) == [str(tmp_path / "1.fits")]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"folder {tmp_path / 'closed'} cannot be read: Permission denied; its files are left out"
    )


def sdfits(path, **cards):
    return write_table(path, make_table(dish_columns(FRONTEND=np.array(["Rcvr68_92"] * 4)), **cards))


def test_the_profile_that_fits_the_first_file(tmp_path):
    sdfits(tmp_path / "a.fits", TELESCOP="NRAO_GBT")
    assert choose_profile([tmp_path]).name == "gbt_wband"
    assert choose_profile([tmp_path / "a.fits"]).name == "gbt_wband"


@pytest.mark.parametrize(("telescope", "name"), [("SOFIA", "great"), ("FYST", "ccat"), ("NANTEN2", "nanten2")])
def test_profiles_of_images(tmp_path, telescope, name):
    write_image(tmp_path / "000012_0001_AB_PX03.fits", TELESCOP=telescope)
    assert choose_profile([tmp_path]).name == name


def test_no_profile_fits(tmp_path):
    path = sdfits(tmp_path / "a.fits", TELESCOP="EFFELSBERG")
    with pytest.raises(ProfileError) as error:
        choose_profile([path])
    message = str(error.value)
    assert message.startswith(f"{path} fits none of the profiles that come with the package (")
    assert "gbt_wband: TELESCOP is 'EFFELSBERG', expected NRAO_GBT" in message
    assert "gbt_sdfits: for any telescope, if named" in message


def test_a_damaged_file_decides_nothing(tmp_path):
    (tmp_path / "a.fits").write_text("nonsense")
    (tmp_path / "b.fits").write_bytes(b"")
    with pytest.raises(
        ProfileError, match=r"no profile fits: .*a\.fits is no FITS file: .*'nonsense'.* \(and 1 more file\)"
    ):
        choose_profile([tmp_path])
    sdfits(tmp_path / "c.fits", TELESCOP="NRAO_GBT")
    assert choose_profile([tmp_path]).name == "gbt_wband"


def test_reasons_of_files_without_the_keys(tmp_path):
    write_image(tmp_path / "a.fits")
    with pytest.raises(
        ProfileError, match=r"gbt_wband: no HDU 'SINGLE DISH', found HDU 0; great: TELESCOP is not there, exp"
    ):
        choose_profile([tmp_path])


def test_several_profiles_fit(tmp_path, monkeypatch):
    text = write_profile(tmp_path / "dish.toml").read_text()
    (tmp_path / "two.toml").write_text(text.replace('name = "dish"', 'name = "two"'))
    monkeypatch.setattr("cal_pipeline.heterodyne.ingest.profile.PROFILES", tmp_path)
    path = write_table(tmp_path / "a.fits")
    with pytest.raises(ProfileError, match=r"a\.fits fits several profiles; choose dish or two"):
        choose_profile([path])


def test_a_folder_without_files(tmp_path):
    with pytest.raises(IngestError, match="holds no file of a profile of this package"):
        choose_profile([tmp_path])
