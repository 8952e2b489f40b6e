"""Locations as users give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.errors import StoreError


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("l1.zarr", "l1.zarr"),
        (Path("out") / "l1.zarr", "out/l1.zarr"),
        ("~/l1.zarr", "/home/ann/l1.zarr"),
        (Path("~/l1.zarr"), "/home/ann/l1.zarr"),
        ("$NIGHT/l1.zarr", "/data/night/l1.zarr"),
        ("${NIGHT}/l1.zarr", "/data/night/l1.zarr"),
        ("file:///data/l1.zarr", "/data/l1.zarr"),
        ("FILE://localhost/data/l1.zarr", "/data/l1.zarr"),
        ("file:///data/my%20l1.zarr", "/data/my l1.zarr"),
        ("file://$NIGHT/l1.zarr", "/data/night/l1.zarr"),
        ("S3://Night/L1.zarr", "s3://Night/L1.zarr"),
        ("s3://night/l1.zarr/", "s3://night/l1.zarr"),
        (Path("s3://night/l1.zarr"), "s3://night/l1.zarr"),
        ("s3://night/$WHO.zarr", "s3://night/ann.zarr"),
        ("a:b/l1.zarr", "a:b/l1.zarr"),
    ],
)
def test_normal_form(given, normal, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("NIGHT", "/data/night")
    monkeypatch.setenv("WHO", "ann")
    assert normalize_location(given) == normal


def test_a_file_on_another_host_is_refused():
    with pytest.raises(StoreError, match="'head'"):
        normalize_location("file://head/data/l1.zarr")


@pytest.mark.parametrize("given", [3, None])
def test_no_location(given):
    with pytest.raises(TypeError):
        normalize_location(given)


@pytest.mark.parametrize(
    ("given", "remote"),
    [
        ("s3://b/x", True),
        ("HTTPS://h/x", True),
        ("file:///x", False),
        ("x.zarr", False),
        (Path("x"), False),
        (None, False),
    ],
)
def test_urls_are_told_from_paths(given, remote):
    assert is_url(given) is remote
