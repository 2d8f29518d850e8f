"""Recipes, and the weights that come with the package, down to a real glacier."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from glaciercube.errors import AcquireError, WeightsError
from glaciercube.indices import snow_by_thresholds
from glaciercube.model.card import read_card
from glaciercube.model.channels import stack
from glaciercube.model.registry import network_of
from glaciercube.model.zoo import BUNDLED, card_of
from glaciercube.radiometry import to_reflectance
from glaciercube.simulate.materials import TYPICAL
from glaciercube.train import loop, recipes, scenes

NAMES = ("extent", "facies")


@pytest.fixture
def tiny(monkeypatch):
    """Shrink everything, and take typical spectra, so that a recipe runs in seconds."""
    monkeypatch.setattr(scenes, "SIZE", 128)
    monkeypatch.setattr(recipes.spectra, "materials", lambda *a, **k: dict(TYPICAL))
    small = {
        name: replace(recipe, width=6, scenes=3, held_out_scenes=2)
        for name, recipe in recipes.RECIPES.items()
    }
    monkeypatch.setattr(recipes, "RECIPES", small)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_writes_weights_and_a_card_that_fit(tiny, name, tmp_path):
    card = recipes.train_bundled(name, "anywhere", tmp_path / "out", steps=3, seed=1)
    read = read_card(tmp_path / "out" / f"{name}.json")
    assert read == card
    network = network_of(read)
    assert network.halo == read.halo == sum(recipes.RECIPES[name].dilations)
    assert (read.inspection["halo"], read.inspection["exact"]) == (read.halo, True)
    scores = loop.scores_of(network, np.zeros((1, 6, 40, 40), np.float32))
    assert scores.shape == (1, len(read.categories), 40, 40)
    assert read.training["steps"] == 3
    found = read.metrics["held_out_simulated"]
    assert found["pixels"] == 128 * 128
    assert 0 <= found["macro_f1"] <= 1


def test_a_seed_gives_the_same_weights(tiny, tmp_path):
    first, again, other = (
        recipes.train_bundled("extent", "anywhere", tmp_path / place, steps=2, seed=seed)
        for place, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256


def test_an_unknown_recipe_lists_the_known(tmp_path):
    with pytest.raises(WeightsError, match=r"no recipe 'albedo'; there are \['extent', 'facies'\]"):
        recipes.train_bundled("albedo", tmp_path, tmp_path)


def test_missing_spectra_are_named_before_anything_is_trained(tmp_path):
    with pytest.raises(AcquireError, match="usgs-benchmark-spectra.*lacks"):
        recipes.train_bundled("extent", tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", NAMES)
def test_bundled_weights_are_small_and_load(name):
    card = card_of(name)
    assert Path(card.weights).stat().st_size < 5e6
    assert card.categories == recipes.RECIPES[name].categories
    assert card.training["steps"] >= 300
    assert card.unlabelled
    assert len(card.limits) >= 4
    assert network_of(card).halo == card.halo


@pytest.mark.parametrize("name", NAMES)
def test_bundled_networks_are_good_on_scenes_they_never_saw(name):
    found = card_of(name).metrics["held_out_simulated"]
    assert found["expected_calibration_error"] < 0.05
    assert found["macro_f1"] > {"extent": 0.85, "facies": 0.6}[name]


@pytest.mark.parametrize("name", NAMES)
def test_bundled_networks_give_the_same_in_tiles(name):
    card = card_of(name)
    image = np.random.default_rng(0).uniform(0.01, 0.8, (1, 6, 120, 110)).astype(np.float32)
    image[:, :, :20, :20] = 0
    whole = loop.scores_of(network_of(card), image)[..., 50:70, 45:60]
    halo = card.halo
    tile = loop.scores_of(
        network_of(card), image[..., 50 - halo : 70 + halo, 45 - halo : 60 + halo].copy()
    )
    # 1e-4: float32 scores of about 10, sums in another order
    rows, columns = slice(halo, halo + 20), slice(halo, halo + 15)
    np.testing.assert_allclose(tile[..., rows, columns], whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("year", [2019, 2020])
def test_extent_beats_thresholds_on_a_real_glacier(real_data, year):
    folder = real_data("vinciguerra-s2")
    names = ("blue", "green", "red", "nir", "swir16", "swir22")
    with rasterio.open(folder / f"vinciguerra_s2_l1c_{year}.tif") as source:
        values = to_reflectance(source.read([2, 3, 4, 8, 12, 13]), 1e-4, 0)
    with rasterio.open(folder / f"label_{year}.tif") as source:
        truth = source.read(1) > 0
    card = card_of("extent")
    channels, measured = stack(values, names, card)
    said = loop.scores_of(network_of(card), channels[np.newaxis])[0].argmax(axis=0)
    glacier = (said == card.categories.index("glacier")) & measured
    plain = snow_by_thresholds(values[1], values[3], values[4])
    ours, theirs = ((found & truth).sum() / (found | truth).sum() for found in (glacier, plain))
    assert theirs == pytest.approx({2019: 0.811, 2020: 0.773}[year], abs=2e-3)
    assert ours > theirs


def test_nothing_bundled_is_forgotten():
    assert {path.stem for path in BUNDLED.glob("*.safetensors")} == set(recipes.RECIPES)
