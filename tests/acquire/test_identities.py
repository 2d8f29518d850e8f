"""What tells a source from another: content where it can be had, never a credential."""

import os

import numpy as np
import pystac
import pytest

from glaciercube.acquire import identities
from glaciercube.acquire.identities import (
    content_of,
    glimpse_of,
    identity_of_source,
    public,
    version_of,
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(np.random.default_rng(0).bytes(300_000))
    return path


def edit(path, place, byte=b"\0"):
    with open(path, "r+b") as opened:
        opened.seek(place)
        opened.write(byte)


def test_content_counts_and_neither_name_nor_time(file, tmp_path):
    copy = tmp_path / "b.tif"
    copy.write_bytes(file.read_bytes())
    os.utime(copy, ns=(0, 0))
    assert content_of(copy) == content_of(file)
    assert identity_of_source(str(copy)) == identity_of_source(str(file), "version")
    edit(copy, 150_000)
    assert content_of(copy) != content_of(file)


def test_of_a_large_file_every_sample_counts(file, monkeypatch):
    monkeypatch.setattr(identities, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(identities, "SAMPLE_BYTES", 100)
    before = content_of(file)
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    step = (300_000 - 100) // 63
    for place in (0, step, 30 * step + 60, 299_999):
        content = file.read_bytes()
        identities._content.cache_clear()
        edit(file, place, b"\x01" if content[place] != 1 else b"\x02")
        os.utime(file, ns=times)
        assert content_of(file) != before
        file.write_bytes(content)
        os.utime(file, ns=times)
    identities._content.cache_clear()
    assert content_of(file) == before
    os.utime(file, ns=(0, 0))
    assert content_of(file) != before


def test_a_file_is_hashed_once(file, monkeypatch):
    identities._content.cache_clear()
    for _ in range(3):
        content_of(file)
    assert identities._content.cache_info().misses == 1


def test_a_missing_file_is_told_by_its_path(tmp_path):
    gone, other = str(tmp_path / "gone.tif"), str(tmp_path / "other.tif")
    assert identity_of_source(gone) == identity_of_source(gone)
    assert identity_of_source(gone) != identity_of_source(other)
    assert glimpse_of(gone) is None


def test_a_glimpse_sees_size_beginning_and_end(file):
    before = glimpse_of(file)
    edit(file, 150_000)
    assert glimpse_of(file) == before
    for place in (5, 299_990):
        content = file.read_bytes()
        edit(file, place, b"\x01" if content[place] != 1 else b"\x02")
        assert glimpse_of(file) != before
        file.write_bytes(content)
    file.write_bytes(content[:200_000] + content[200_001:])
    assert glimpse_of(file) != before


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://a.org/get?id=5&part=2", "https://a.org/get?id=5&part=2"),
        ("https://a.org/x.tif?X-Amz-Signature=s&X-Amz-Date=2", "https://a.org/x.tif"),
        ("s3://key:word@bucket/x.tif", "s3://bucket/x.tif"),
        ("/data/x?token=1.tif", "/data/x?token=1.tif"),
        ("https://a.org/x.tif#part", "https://a.org/x.tif"),
    ],
)
def test_addresses_lose_credentials_and_nothing_else(address, expected):
    assert public(address) == expected


def test_addresses_that_differ_in_what_they_ask_for_are_other_sources():
    first, second = (identity_of_source(f"https://a.org/get?id={n}") for n in (1, 2))
    assert first != second
    assert identity_of_source("https://a.org/a.tif", "1") != identity_of_source(
        "https://a.org/a.tif", "2"
    )


def test_a_checksum_comes_before_dates():
    item = pystac.Item(
        "a", None, None, pystac.utils.str_to_datetime("2021-08-01"), {"created": "2021-08-02"}
    )
    item.add_asset("plain", pystac.Asset("a.tif"))
    item.add_asset("stated", pystac.Asset("b.tif", extra_fields={"file:checksum": "1220ab"}))
    assert version_of(item, "plain") == "2021-08-02"
    assert version_of(item, "stated") == "1220ab"
    item.properties["updated"] = "2022-01-01"
    assert version_of(item, "plain") == "2022-01-01"
    item.properties.clear()
    assert version_of(item, "plain") == ""
