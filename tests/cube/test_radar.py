"""Radar cubes: decibels, cleaning, orbits."""

import dask
import numpy as np
import pytest
import xarray as xr

from cube.speckled import chunked, make_radar_cube
from glaciercube import schema
from glaciercube.cube import radar
from glaciercube.cube.backscatter import clean_backscatter
from glaciercube.cube.radar import cleaned, decibels, linear, orbits
from glaciercube.errors import SchemaError


@pytest.fixture
def scenes(geobox):
    return make_radar_cube(geobox)


def test_decibels_and_back_again(scenes):
    out = decibels(scenes)
    assert out["backscatter"].attrs["units"] == "dB"
    assert out["backscatter"].dtype == np.float32
    np.testing.assert_allclose(
        out["backscatter"], 10 * np.log10(scenes["backscatter"]), rtol=1e-5, atol=1e-5
    )
    back = linear(out)
    xr.testing.assert_allclose(back, scenes, rtol=1e-5)
    schema.check(back, schema.RADAR_CUBE, "radar")
    assert back["backscatter"].encoding == scenes["backscatter"].encoding


def test_zero_has_no_decibels(scenes):
    scenes["backscatter"][0, 0, 50, 50] = 0
    assert np.isnan(decibels(scenes)["backscatter"][0, 0, 50, 50])


def test_conversions_stay_lazy_and_their_names_follow(scenes, no_compute, monkeypatch):
    cube = chunked(scenes, time=1, y=32, x=40)
    with no_compute:
        out = decibels(cube)
        back = linear(out)
    assert dask.is_dask_collection(back["backscatter"].data)
    assert out["backscatter"].data.name == decibels(cube)["backscatter"].data.name
    np.testing.assert_array_equal(out["backscatter"], decibels(scenes)["backscatter"])
    before = out["backscatter"].data.name
    monkeypatch.setattr(radar, "ALGORITHM_VERSION", radar.ALGORITHM_VERSION + 1)
    assert decibels(cube)["backscatter"].data.name != before


def test_the_unit_is_looked_at(scenes):
    with pytest.raises(
        SchemaError, match=r"decibels needs backscatter in linear units, found deci"
    ):
        decibels(decibels(scenes))
    with pytest.raises(SchemaError, match="units 'dB', found units '1'"):
        linear(scenes)
    with pytest.raises(SchemaError, match="units 'dB', found units None"):
        linear(scenes[["valid"]])
    with pytest.raises(SchemaError, match="'valid' is missing"):
        decibels(scenes[["backscatter"]])


@pytest.fixture
def dirty(scenes):
    """Return scenes with a swath's border in the west, its noise, and impossible numbers."""
    out = scenes.copy(deep=True)
    out["backscatter"][..., :12] = 0
    out["backscatter"][:, 0, :, 12:14] = 1e-4
    out["backscatter"][0, 0, 60, 60] = np.inf
    out["backscatter"][0, :, 61, 61] = -0.01
    out["valid"][1, 70, 70] = False
    out["backscatter"][1, :, 70, 70] = 0.1
    return out


def test_what_is_no_measurement_becomes_nan_and_invalid(dirty):
    out = cleaned(dirty, border=6)
    assert not out["valid"][..., :12].any()
    assert np.isnan(out["backscatter"][:, 0, :, 12:14]).all()
    assert out["valid"][0, 60, 60]  # VH measured it
    assert np.isnan(out["backscatter"][0, 0, 60, 60])
    assert not out["valid"][0, 61, 61]
    assert not out["valid"][1, 70, 70]
    assert np.isnan(out["backscatter"][1, :, 70, 70]).all()
    np.testing.assert_array_equal(out["valid"], np.isfinite(out["backscatter"]).any("band"))
    assert not (out["valid"] & ~dirty["valid"]).any()
    measured = dirty["backscatter"].where(dirty["valid"]).values
    np.testing.assert_array_equal(out["backscatter"], clean_backscatter(measured, border=6))


@pytest.mark.parametrize("border", [0, 6])
@pytest.mark.parametrize(
    "chunks", [{"time": 1, "y": 32, "x": 40}, {"time": 3, "band": 1, "y": 5, "x": 80}]
)
def test_cleaning_is_lazy_and_the_same_in_any_chunks(dirty, chunks, border, no_compute):
    cube = chunked(dirty, **chunks)
    with no_compute:
        out = cleaned(cube, border=border)
    assert out["backscatter"].data.chunks == cube["backscatter"].data.chunks
    assert out["valid"].data.name == cleaned(cube, border=border)["valid"].data.name
    assert out["valid"].data.name != cleaned(cube, border=border + 1)["valid"].data.name
    xr.testing.assert_identical(out.compute(), cleaned(dirty, border=border))


def test_one_half_may_be_in_memory(dirty):
    whole = cleaned(dirty)
    for name in ("valid", "backscatter"):
        mixed = dirty.assign({name: chunked(dirty, time=2, y=50)[name]})
        np.testing.assert_array_equal(cleaned(mixed)["backscatter"], whole["backscatter"])


def test_orbits_are_kept_apart(scenes):
    found = orbits(scenes)
    assert list(found) == [("ascending", 12), ("descending", 85)]
    for (state, number), part in found.items():
        assert set(part["orbit_state"].values) == {state}
        assert set(part["relative_orbit"].values) == {number}
        xr.testing.assert_identical(part, scenes.isel(time=scenes["orbit_state"] == state))
    assert sum(part.sizes["time"] for part in found.values()) == scenes.sizes["time"]


def test_two_relative_orbits_of_one_state_are_two(scenes):
    scenes["relative_orbit"][0] = 114
    assert list(orbits(scenes)) == [("ascending", 12), ("ascending", 114), ("descending", 85)]


def test_without_orbits_nobody_can_tell(scenes):
    with pytest.raises(SchemaError, match=r"it lacks \['relative_orbit'\]; without them"):
        orbits(scenes.drop_vars("relative_orbit"))
