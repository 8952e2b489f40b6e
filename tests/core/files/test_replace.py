"""Files are written completely or not at all, and errors name the file that was asked for."""

from __future__ import annotations

import errno
import os

import pytest

from cal_pipeline.core.files.replace import replace_file
from cal_pipeline.report.page.document import ReportDocument


def _fill_the_disk(target):
    with replace_file(target) as unfinished:
        unfinished.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_names_the_file_and_leaves_the_older_one(tmp_path):
    target = tmp_path / "night.txt"
    target.write_text("older")
    with pytest.raises(OSError, match="No space left") as caught:
        _fill_the_disk(target)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    assert str(caught.value).endswith(f"'{target}'")
    assert target.read_text() == "older"
    assert os.listdir(tmp_path) == ["night.txt"]


def test_a_folder_that_takes_no_file_is_told_by_the_name_asked_for():
    with pytest.raises(OSError, match=r"/proc/night.txt") as caught, replace_file("/proc/night.txt") as unfinished:
        unfinished.write_text("never")
    assert caught.value.filename == "/proc/night.txt"
    with pytest.raises(OSError, match=r"/proc/night.html") as caught, ReportDocument("/proc/night.html", "Night"):
        pass
    assert caught.value.filename == "/proc/night.html"


def test_errors_of_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replace_file(tmp_path / "night.txt"):
        (tmp_path / "input.txt").read_bytes()
    assert caught.value.filename == str(tmp_path / "input.txt")
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_renamed_is_told_by_the_name_asked_for(tmp_path):
    target = tmp_path / "night.txt"
    target.mkdir()
    with pytest.raises(IsADirectoryError) as caught, replace_file(target) as unfinished:
        unfinished.write_text("complete")
    assert str(caught.value) == f"[Errno {errno.EISDIR}] Is a directory: '{target}'"
