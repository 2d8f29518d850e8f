"""The authors' weights in our networks: their own inputs and outputs, and what is refused."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from keras_files import seeded, write_keras

from glaciercube.errors import WeightsError
from glaciercube.model import import_keras, keras_layers, read_card
from glaciercube.model.glavitu import GlaViTU
from glaciercube.model.icemapper import ICEmapper
from glaciercube.model.patch_cnn import PatchCNN
from glaciercube.model.registry import network_of

pytest.importorskip("h5py", reason="h5py is not installed: pip install 'glaciercube[keras]'")

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
TOLERANCE = 1e-4
"""Of a probability: both are float32, by other libraries."""


@pytest.fixture
def vectors():
    """Return a function that gives what the authors' code was given and gave, or skips."""

    def load(name):
        if not VECTORS.exists():
            pytest.skip(f"inputs and outputs of the authors' networks are not at {VECTORS}")
        return np.load(VECTORS / f"{name}_io.npz")

    return load


def unit(count):
    """Return a scaling that changes nothing."""
    return [0.0] * count, [1.0] * count


@torch.inference_mode()
def probability(card, images):
    """Return probabilities (n, y, x, category) of images (n, y, x, channel)."""
    images = torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, 1)
    return network_of(card)(images).softmax(dim=1).movedim(1, -1).numpy()


@torch.inference_mode()
def of_patches(card, patches):
    patches = torch.from_numpy(patches).movedim(-1, 1)
    return network_of(card).of_patches(patches).softmax(dim=1).numpy()


@pytest.mark.parametrize(("bands", "kind"), [(6, "features1"), (11, "features4")])
@pytest.mark.parametrize("fold", [0, 1])
def test_facies_of_patches_are_those_of_the_authors(
    tmp_path, real_data, vectors, bands, kind, fold
):
    found = vectors("massive_facies")
    path = real_data("massive-facies-weights") / f"{kind}_fold{fold}.h5"
    card = import_keras(path, tmp_path, network="facies", scaling=unit(bands))
    assert len(card.bands) == bands
    expected = found[f"probability_{bands}_fold{fold}"]
    ours = of_patches(card, found[f"patches_{bands}"])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)
    assert (ours.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_a_facies_map_is_that_of_the_authors(tmp_path, real_data, vectors):
    rasterio = pytest.importorskip("rasterio")
    expected = vectors("massive_facies")["map_autumn_fold0_rows80_176_cols80_176"][:40, :48]
    path = real_data("massive-facies-weights") / "features1_fold0.h5"
    card = import_keras(path, tmp_path, network="facies", scaling=unit(6))
    with rasterio.open(real_data("khumbu-s2") / "s2_autumn_2024.tif") as file:
        window = rasterio.windows.Window(64, 64, 48 + 32, 40 + 32)
        image = file.read(window=window).astype(np.float32) / np.float32(1.7)
    ours = probability(card, image[None].transpose(0, 2, 3, 1))[0, 16:-16, 16:-16]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)
    clear = np.sort(expected, axis=-1)
    clear = clear[..., -1] - clear[..., -2] > 1e-5
    assert (ours.argmax(axis=-1) == expected.argmax(axis=-1))[clear].all()


@pytest.mark.parametrize(("pooling", "bands"), [("maxpool", 1), ("tweightedpool", 2)])
def test_icemapper_gives_what_the_authors_gives(tmp_path, vectors, pooling, bands):
    found = vectors(f"icemapper_{pooling}_random")
    path = VECTORS / f"icemapper_{pooling}_random_weights.h5"
    card = import_keras(path, tmp_path, network="icemapper", scaling=unit(bands))
    series = found["x"]  # (n, time, y, x, channel)
    images = np.concatenate([series[:, at] for at in range(series.shape[1])], axis=-1)
    ours = probability(card, images)
    np.testing.assert_allclose(ours, found["probability"], rtol=0, atol=TOLERANCE)
    assert card.channels == 15 * bands
    assert (card.exact, card.halo, card.window) == (
        (True, 56, 0) if bands == 1 else (False, 0, 384)
    )


def test_glavitu_gives_what_the_authors_gives(tmp_path, vectors):
    found = vectors("glavitu_random")
    path = VECTORS / "glavitu_random_weights.h5"
    card = import_keras(path, tmp_path, network="glavitu", scaling=unit(8))
    assert card.bands[-2:] == ("elevation", "slope")
    assert (card.window, card.exact) == (384, False)
    ours = probability(card, np.concatenate([found["optical"], found["dem"]], axis=-1))
    np.testing.assert_allclose(ours, found["probability"], rtol=0, atol=TOLERANCE)


@pytest.fixture
def facies(tmp_path):
    """Return the path of made weights of the facies network with six bands."""
    network = seeded(PatchCNN(bands=6, categories=8))
    return write_keras(tmp_path / "made.h5", network, keras_layers.facies_cnn(), first=3)


def test_a_card_lies_beside_its_weights(tmp_path, facies):
    folder = tmp_path / "cards"
    card = import_keras(facies, folder, network="facies", scaling=([0] * 6, [1.7] * 6))
    assert sorted(path.name for path in folder.iterdir()) == [
        "facies-made.json",
        "facies-made.safetensors",
    ]
    assert read_card(folder / "facies-made.json") == card
    assert (card.mean, card.std) == ((0.0,) * 6, (1.7,) * 6)
    assert (card.halo, card.exact, card.licence) == (16, True, "GPL-2.0-only")
    assert card.categories == (
        "ice", "snow", "debris", "firn", "shadow", "refrozen", "water", "cloud",
    )  # fmt: skip
    assert card.training["file"] == "made.h5"
    assert network_of(card)(torch.zeros(1, 6, 3, 4)).shape == (1, 8, 3, 4)


def test_the_same_weights_run_by_convolutions(tmp_path, facies):
    options = {"network": "facies", "scaling": unit(6)}
    exact = import_keras(facies, tmp_path, **options)
    fast = import_keras(facies, tmp_path, **options, arguments={"mode": "convolutional"})
    assert (fast.name, fast.halo) == ("facies-made-convolutional", 28)
    assert fast.sha256 == exact.sha256
    assert "was not measured, as no image was given" in fast.limits[-1]
    assert "not measured" not in " ".join(exact.limits)
    patches = np.random.default_rng(0).uniform(0, 1, (2, 33, 33, 6)).astype(np.float32)
    np.testing.assert_allclose(of_patches(fast, patches), of_patches(exact, patches), atol=1e-6)


def test_an_image_tells_how_the_modes_agree(tmp_path, facies):
    image = np.random.default_rng(0).uniform(0, 1, (6, 58, 60)).astype(np.float32)
    card = import_keras(facies, tmp_path, network="facies", scaling=unit(6), image=image)
    found = read_card(tmp_path / "facies-made.json").metrics["convolutional_and_patches"]
    assert found == card.metrics["convolutional_and_patches"]
    assert found["pixels"] == 2 * 4
    assert 0 <= found["labels_equal"] <= 1


def test_fields_take_the_place_of_those_of_the_row(tmp_path, facies):
    bands = ["b1", "b2", "b3", "b4", "b5", "b6"]
    changes = {"bands": bands, "name": "mine", "radiometry": ["surface"]}
    card = import_keras(facies, tmp_path, network="facies", scaling=unit(6), **changes)
    assert (card.bands, card.name, card.radiometry) == (tuple(bands), "mine", ("surface",))
    assert (tmp_path / "mine.safetensors").exists()


def test_the_authors_statistics_are_read_from_their_pickle(tmp_path, facies):
    low, high = np.linspace(0, 0.1, 11), np.linspace(1.5, 2.5, 11)
    (tmp_path / "globalminmax.pickle").write_bytes(pickle.dumps((low, high)))
    scaling = tmp_path / "globalminmax.pickle"
    card = import_keras(facies, tmp_path, network="facies", scaling=scaling)
    assert card.mean == tuple(low[:6])
    assert card.std == tuple(high[:6] - low[:6])


def test_missing_statistics_are_asked_for(tmp_path, facies):
    match = r"needs scaling: .*\['blue', .*'swir22'\].*do not come with the weights"
    with pytest.raises(WeightsError, match=match):
        import_keras(facies, tmp_path / "cards", network="facies")
    assert not (tmp_path / "cards").exists()


def test_an_unknown_network_lists_the_known(tmp_path, facies):
    match = r"networks \['facies', 'glavitu', 'icemapper'\], found 'unet'"
    with pytest.raises(WeightsError, match=match):
        import_keras(facies, tmp_path, network="unet", scaling=unit(6))


def test_weights_of_another_network_say_which(tmp_path, facies):
    match = r"must be weights of 'glavitu', but lacks its layers .*it has those of 'facies'"
    with pytest.raises(WeightsError, match=match):
        import_keras(facies, tmp_path, network="glavitu", scaling=unit(8))


def test_weights_of_no_network_are_said(tmp_path, facies):
    h5py = pytest.importorskip("h5py")
    with h5py.File(facies, "a") as file:
        del file["conv2d_8"]
    with pytest.raises(
        WeightsError, match=r"lacks its layers \['conv2d.5/kernel'\]; it is of none"
    ):
        import_keras(facies, tmp_path, network="facies", scaling=unit(6))


def test_weights_of_another_variant_are_listed(tmp_path, facies):
    h5py = pytest.importorskip("h5py")
    with h5py.File(facies, "a") as file:
        del file["dense_3/dense_3/bias:0"]
        file["dense_6/dense_6/kernel:0"] = np.zeros((8, 8), np.float32)
    with pytest.raises(WeightsError) as raised:
        import_keras(facies, tmp_path / "cards", network="facies", scaling=unit(6))
    assert "missing 'dense.0/bias'" in str(raised.value)
    assert "unexpected 'dense.3/kernel' of shape (8, 8)" in str(raised.value)
    assert not (tmp_path / "cards").exists()


def test_other_numbers_of_bands_are_shown(tmp_path):
    network = seeded(PatchCNN(bands=7, categories=8))
    path = write_keras(tmp_path / "made.h5", network, keras_layers.facies_cnn())
    with pytest.raises(WeightsError, match=r"has shape \(3, 3, 7, 64\), ours \(64, 11, 3, 3\)"):
        import_keras(path, tmp_path, network="facies", scaling=unit(11))


def test_unknown_fields_are_named(tmp_path, facies):
    with pytest.raises(WeightsError, match=r"takes the fields .*found \['mean', 'colour'\]"):
        import_keras(
            facies, tmp_path, network="facies", scaling=unit(6), mean=(0,) * 6, colour="blue"
        )


def test_an_unknown_mode_is_shown(tmp_path, facies):
    with pytest.raises(
        WeightsError, match=r"one of \['facies-cnn exact', .*found 'facies-cnn fast'"
    ):
        import_keras(
            facies, tmp_path, network="facies", scaling=unit(6), arguments={"mode": "fast"}
        )


def test_an_image_is_for_the_facies_network(tmp_path):
    network = seeded(ICEmapper(bands=15, categories=2))
    path = write_keras(tmp_path / "made.h5", network, keras_layers.icemapper(False))
    with pytest.raises(WeightsError, match="for the facies network, which has two modes"):
        import_keras(
            path, tmp_path, network="icemapper", scaling=unit(1), image=np.zeros((1, 60, 60))
        )


@pytest.fixture
def placed(tmp_path):
    """Return the path of made weights of a GlaViTU with a location of four numbers."""
    network = seeded(GlaViTU(bands=8, categories=2, window=16, location=[0.0] * 4))
    return write_keras(tmp_path / "placed.h5", network, keras_layers.glavitu(2))


def test_a_location_is_an_argument(tmp_path, placed):
    arguments = {"location": [0.5, 0.8, 0.1, 0.9]}
    options = {"network": "glavitu", "scaling": unit(8)}
    card = import_keras(placed, tmp_path, **options, arguments=arguments)
    assert card.arguments["location"] == arguments["location"]
    assert (card.arguments["window"], card.window) == (16, 16)
    other = import_keras(
        placed, tmp_path / "other", **options, arguments={"location": [0.0, 1, 0, 1]}
    )
    image = np.random.default_rng(0).uniform(0, 1, (1, 16, 16, 8)).astype(np.float32)
    assert abs(probability(card, image) - probability(other, image)).max() > 1e-3


@pytest.mark.parametrize("arguments", [None, {"location": [1.0, 0.0]}])
def test_a_location_is_asked_for(tmp_path, placed, arguments):
    match = r"trained with the location: needs arguments=\{'location': \[...\]\} of 4 numbers"
    with pytest.raises(WeightsError, match=match):
        import_keras(placed, tmp_path, network="glavitu", scaling=unit(8), arguments=arguments)


def test_scaling_by_feature_follows_the_bands(tmp_path, placed):
    low = {"optical": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], "dem": -103.0, "slope": 0.0}
    high = {"optical": [2.0] * 6, "dem": 8349.0, "slope": 88.98, "thermal": 322.08}
    (tmp_path / "stats.json").write_text(json.dumps([low, high]))
    card = import_keras(
        placed,
        tmp_path,
        network="glavitu",
        scaling=tmp_path / "stats.json",
        arguments={"location": [0.0, 1, 0, 1]},
    )
    assert card.bands[-2:] == ("elevation", "slope")
    assert (card.mean[-2:], card.std[-2:]) == ((-103.0, 0.0), (8452.0, 88.98))


def test_the_dates_of_icemapper_may_be_chosen(tmp_path):
    network = seeded(ICEmapper(bands=15, categories=2))
    path = write_keras(tmp_path / "made.h5", network, keras_layers.icemapper(False))
    dates = {"count": 15, "anchor": "past", "mask": False}
    card = import_keras(path, tmp_path, network="icemapper", scaling=unit(1), dates=dates)
    assert (card.dates["anchor"], card.channels, card.bands) == ("past", 15, ("backscatter",))
    assert (card.halo, card.stride, card.multiple) == (56, 8, 8)
    assert network_of(card)(torch.zeros(1, 15, 11, 13)).shape == (1, 2, 11, 13)
    with pytest.raises(WeightsError, match="no multiple of 15 dates"):
        network_of(replace(card, dates={**dates, "count": 4}))
