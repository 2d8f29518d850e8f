import numpy as np
import pytest

from glaciercube.errors import SchemaError
from glaciercube.simulate.materials import BANDS, NEEDED, TYPICAL, checked


def mean(name, band):
    return TYPICAL[name][:, BANDS.index(band)].mean()


def test_typical_samples_cover_every_material_and_band():
    assert set(TYPICAL) == {*NEEDED, "cloud"}
    for name, samples in TYPICAL.items():
        assert samples.shape[1] == len(BANDS), name
        assert samples.dtype == np.float32
        assert (samples > 0).all()
        assert (samples < 1.1).all()


def test_snow_is_bright_in_the_visible_and_dark_in_the_short_wave_infrared():
    assert mean("snow", "green") > 0.8
    assert mean("snow", "swir16") < 0.12
    assert mean("snow", "green") > mean("firn", "green") > mean("ice", "green")


def test_cloud_is_bright_in_the_short_wave_infrared():
    assert mean("cloud", "swir16") > 0.3
    assert mean("cloud", "swir16") > 3 * mean("snow", "swir16")


def test_rock_and_debris_rise_plants_jump_and_water_falls():
    for name in ("rock", "debris"):
        assert mean(name, "swir16") > mean(name, "red") > mean(name, "blue")
    assert mean("vegetation", "nir") > 3 * mean("vegetation", "red")
    assert mean("water", "nir") < mean("water", "green") / 2


def test_checked_sorts_from_dark_to_bright_and_adds_the_typical_cloud():
    shuffled = {
        name: np.random.default_rng(0).permutation(TYPICAL[name], axis=0) for name in NEEDED
    }
    table = checked(shuffled)
    assert (np.diff(table["ice"].mean(axis=1)) >= 0).all()
    assert table["cloud"] is TYPICAL["cloud"]


def test_checked_lists_every_problem_at_once():
    wrong = {name: TYPICAL[name] for name in NEEDED if name != "firn"}
    wrong["ice"] = TYPICAL["ice"][:, :6]
    wrong["snow"] = np.full((3, len(BANDS)), np.nan)
    with pytest.raises(SchemaError, match="materials do not fit") as caught:
        checked(wrong)
    message = str(caught.value)
    assert "'firn' is missing; there are ['debris', 'ice'" in message
    assert "'ice' has shape (24, 6), needs (samples, 10) in the order ['blue'" in message
    assert "'snow' has samples that are not finite" in message
