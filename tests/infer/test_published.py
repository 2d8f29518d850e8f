"""The published networks in `predict`: every pixel as the network itself says it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import make_cube
from keras_files import seeded, write_keras

from glaciercube.errors import WeightsError
from glaciercube.infer import runtimes, threads
from glaciercube.infer.lazy import predict
from glaciercube.model import import_keras, keras_layers
from glaciercube.model.glavitu import GlaViTU
from glaciercube.model.icemapper import ICEmapper
from glaciercube.model.patch_cnn import PatchCNN
from glaciercube.model.registry import network_of

pytest.importorskip("h5py", reason="h5py is not installed: pip install 'glaciercube[keras]'")

OPTICAL = ["blue", "green", "red", "nir", "swir16", "swir22"]


def imported(folder, kind, network, names, bands, **options):
    path = write_keras(folder / "made.h5", seeded(network), names)
    return import_keras(
        path, folder, network=kind, scaling=([0.0] * bands, [1.7] * bands), **options
    )


def part(cube, rows, columns):
    return cube.isel(y=slice(rows), x=slice(columns))


@torch.inference_mode()
def whole(card, values):
    """Return the probabilities of one image through the network alone."""
    measured = np.isfinite(values).all(axis=0)
    seen = np.where(measured, values / np.float32(1.7), 0).astype(np.float32)
    return network_of(card)(torch.from_numpy(seen)[None]).softmax(dim=1)[0].numpy()


@pytest.mark.parametrize("mode", ["exact", "convolutional"])
def test_facies_of_any_chunks_are_those_of_the_whole_image(tmp_path, geobox, mode):
    card = imported(
        tmp_path,
        "facies",
        PatchCNN(bands=6, categories=8),
        keras_layers.facies_cnn(),
        6,
        arguments={"mode": mode},
    )
    cube = part(make_cube(geobox, ["2021-08-01"], OPTICAL), 56, 40)
    outputs = ("facies", "probability")
    layers = predict(cube.chunk(y=28, x=40), [card], outputs=outputs).compute()
    expected = whole(card, cube["reflectance"].values[0])
    found = layers["probability"].values[0]
    measured = cube["valid"].values[0]
    np.testing.assert_allclose(found[:, measured], expected[:, measured], rtol=0, atol=1e-5)
    facies = layers["facies"].values[0]
    assert (facies[measured] == found[:, measured].argmax(axis=0)).all()
    assert (facies[~measured] == 255).all()


@pytest.mark.parametrize("runtime", ["torch", "torch-eager"])
def test_icemapper_sees_its_dates(tmp_path, geobox, runtime):
    dates = {"count": 3, "anchor": "centred", "mask": False}
    network = ICEmapper(bands=6, categories=2, dates=3)
    card = imported(
        tmp_path,
        "icemapper",
        network,
        keras_layers.icemapper(False),
        2,
        arguments={"dates": 3},
        dates=dates,
    )
    cube = make_cube(geobox, ["2021-01-01", "2021-01-13", "2021-01-25"], card.bands)
    layers = predict(cube.chunk(time=1, y=96, x=80), [card], runtime=runtime)
    values = cube["reflectance"].values
    expected = whole(card, values.reshape(6, *values.shape[2:]))
    found = layers["glacier_probability"].isel(time=1).compute().values
    measured = cube["valid"].values[1]
    np.testing.assert_allclose(found[measured], expected[1][measured], rtol=0, atol=1e-5)


def test_windows_of_glavitu_are_blended_alike_whatever_the_chunks(tmp_path, geobox):
    network = GlaViTU(bands=8, categories=2, window=32)
    card = imported(tmp_path, "glavitu", network, keras_layers.glavitu(2), 8)
    cube = part(make_cube(geobox, ["2021-08-01"], OPTICAL), 64, 64)
    cube["slope"] = (cube["elevation"] / 2400 - 1).assign_attrs(units="degree")
    cube["elevation"] = cube["elevation"] / 3200
    seen = with_terrain(cube, ["elevation", "slope"]).assign_attrs(level="top-of-atmosphere")
    assert seen["reflectance"].dims == ("time", "band", "y", "x")
    one, other = (
        predict(seen.chunk(y=side, x=side, band=-1), [card])["glacier_probability"].compute()
        for side in (64, 32)
    )
    xr.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert float(one.std()) > 0


def with_terrain(cube, names):
    """Return a cube whose terrain stands among its bands, as the documentation has it."""
    more = [cube[name].expand_dims(time=cube["time"], band=[name]) for name in names]
    stacked = xr.concat([cube["reflectance"], *more], dim="band", combine_attrs="override")
    return cube.drop_dims("band").assign(reflectance=stacked)


@pytest.mark.parametrize("choice", ["openvino", "torch-compile", "openvino-int8"])
def test_all_patches_at_once_run_in_torch_alone(tmp_path, choice):
    network, names = PatchCNN(bands=6, categories=8), keras_layers.facies_cnn()
    card = imported(tmp_path, "facies", network, names, 6)
    assert runtimes.candidates(card) == ("torch",)
    with pytest.raises(
        WeightsError, match=r"needs one of the runtimes \['torch', .*found '" + choice
    ):
        runtimes.ref_for(card, choice)
    fast = replace(card, arguments={"mode": "convolutional"}, inspection={}, halo=28)
    assert runtimes.choice_of(runtimes.ref_for(fast, choice)) == choice


@pytest.mark.parametrize("mode", ["exact", "convolutional"])
def test_the_number_of_threads_changes_no_bit(tmp_path, mode):
    network, names = PatchCNN(bands=6, categories=8), keras_layers.facies_cnn()
    card = imported(tmp_path, "facies", network, names, 6, arguments={"mode": mode})
    images = np.random.default_rng(0).uniform(0, 1, (1, 6, 40, 70)).astype(np.float32)
    run = runtimes.runtime_of(runtimes.ref_for(card)).scores
    found = []
    for count in (1, 2):
        threads.set_policy(threads.Policy(1, count))
        try:
            found.append(run(images, (slice(0, 40), slice(0, 70))))
        finally:
            threads.set_policy(None)
    np.testing.assert_array_equal(*found)
