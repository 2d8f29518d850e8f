"""Decibels and what is no measurement of backscatter."""

import numpy as np
import pytest
import rasterio

from glaciercube.cube.backscatter import (
    BRIGHTEST_DB,
    FAINTEST_DB,
    OUTSIDE,
    border_halo,
    clean_backscatter,
    decibels_of,
    linear_of,
)


def test_decibels_and_back():
    linear = np.float32([1e-4, 0.02, 0.5, 12.0])
    np.testing.assert_allclose(decibels_of(linear), 10 * np.log10(linear), rtol=1e-6)
    np.testing.assert_allclose(linear_of(decibels_of(linear)), linear, rtol=1e-5)
    assert decibels_of(linear).dtype == linear_of(linear).dtype == np.float32
    assert np.isnan(decibels_of(np.float32([0.0, -0.1, np.nan]))).all()


def test_linear_and_decibels_are_cleaned_alike():
    numbers = np.float32([-np.inf, np.inf, np.nan, FAINTEST_DB - 0.1, BRIGHTEST_DB + 0.1, -30, 10])
    expected = [True] * 5 + [False] * 2
    np.testing.assert_array_equal(
        np.isnan(clean_backscatter(numbers[np.newaxis], units="dB"))[0], expected
    )
    np.testing.assert_array_equal(
        np.isnan(clean_backscatter(linear_of(numbers)[np.newaxis]))[0], expected
    )


@pytest.fixture
def swath():
    """Return a scene in dB that ends in the west with four columns of border noise, has a lake
    of -35 dB and a hole of two pixels with a dark rim inside.
    """
    generator = np.random.default_rng(0)
    scene = generator.normal(-12, 2, (60, 70)).astype(np.float32)
    scene[:, :15] = np.nan
    scene[:, 15:19] = -38
    scene[30:36, 40:50] = -35
    scene[10, 60:62] = -np.inf
    scene[10, 62] = -36
    return scene


def test_border_noise_goes_and_dark_lakes_stay(swath):
    out = clean_backscatter(swath, units="dB", border=8)
    assert np.isnan(out[:, :19]).all()
    assert np.isfinite(out[30:36, 40:50]).all()
    assert np.isfinite(out[10, 62])
    assert np.isnan(out[10, 60:62]).all()
    kept = np.isfinite(out)
    np.testing.assert_array_equal(out[kept], swath[kept])
    assert np.isnan(out).sum() == 60 * 19 + 2


def test_it_reaches_as_far_as_it_is_told(swath):
    out = clean_backscatter(swath, units="dB", border=2)
    assert np.isnan(out[:, :17]).all()
    assert np.isfinite(out[:, 17:19]).all()
    assert np.isfinite(clean_backscatter(swath, units="dB")[:, 15:19]).all()
    assert np.isfinite(clean_backscatter(swath, units="dB", border=8, floor_db=-40)[:, 15:19]).all()


def test_a_hole_at_the_edge_of_the_file_counts_from_half_the_width():
    scene = np.full((40, 40), -10, np.float32)
    scene[:, OUTSIDE // 2 + 1] = -38
    scene[:, : OUTSIDE // 2 + 1] = np.nan
    assert np.isnan(clean_backscatter(scene, units="dB", border=3)[:, OUTSIDE // 2 + 1]).all()


@pytest.mark.parametrize("border", [3, 8])
def test_a_block_with_its_halo_gets_what_the_scene_gets(swath, border):
    whole = clean_backscatter(swath, units="dB", border=border)
    halo = border_halo(border)
    for y, x in ((20, 0), (20, 14), (0, 30), (35, 18)):
        rows = slice(max(0, y - halo), y + 20 + halo)
        columns = slice(max(0, x - halo), x + 20 + halo)
        part = clean_backscatter(swath[rows, columns], units="dB", border=border)
        own = part[y - rows.start :, x - columns.start :][:20, :20]
        np.testing.assert_array_equal(own, whole[y : y + 20, x : x + 20])


def test_bands_and_dates_are_cleaned_apart(swath):
    clean = np.where(np.isnan(swath), np.nan, np.float32(-10)).astype(np.float32)
    out = clean_backscatter(np.stack([[swath, clean], [clean, clean]]), units="dB", border=8)
    assert np.isnan(out[0, 0, :, 15:19]).all()
    assert np.isfinite(out[0, 1, :, 15:19]).all()
    assert np.isfinite(out[1, :, :, 15:19]).all()


def test_a_real_scene_loses_its_infinite_pixels_and_little_else(real_data):
    with rasterio.open(real_data("khumbu-s2") / "s1_winter_2024.tif") as source:
        scene = source.read() * 25 - 25
    infinite = np.isneginf(scene)
    assert infinite.sum(axis=(1, 2)).tolist() == [8, 176]
    out = clean_backscatter(scene, units="dB")
    assert np.isnan(out)[infinite].all()
    assert (np.isnan(out) & ~infinite).sum() <= 1  # one pixel of VH has -50.4 dB
    # its holes are radar shadow, none is wide enough for a swath's border
    np.testing.assert_array_equal(clean_backscatter(scene, units="dB", border=10), out)
