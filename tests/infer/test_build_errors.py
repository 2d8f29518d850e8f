"""What is wrong with a network, its card or the chunks is said when `predict` is called.

One test for each kind of mistake. None of them computes a block, and none starts a network on the
pixels of the cube: inside `told` any Dask compute fails.
"""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dask
import guests
import numpy as np
import pytest
import torch
from cards import BANDS, OF_TASK, fields_of
from safetensors.torch import load_file, save_file
from torch import nn

import glaciercube as gcube
from glaciercube.errors import SchemaError, WeightsError
from glaciercube.infer import checks
from glaciercube.model import hold
from glaciercube.model.card import ModelCard
from glaciercube.model.mlm import LAYOUT
from glaciercube.model.weights import sha256_of


@contextmanager
def lazily():
    """Fail if anything computes a Dask graph inside it."""

    def refuse(dsk, keys, **kwargs):
        raise AssertionError("this call must stay lazy, but it computed a Dask graph")

    with dask.config.set(scheduler=refuse):
        yield


@contextmanager
def told(kind, match):
    """Fail unless it is left by an error with a text, without any compute."""
    with lazily(), pytest.raises(kind, match=match):
        yield


@pytest.fixture
def path(tmp_path, card):
    """Return the JSON file of the card."""
    (found,) = tmp_path.glob("*.json")
    return found


def described(**changes):
    """Return the fields of a card of a network in memory."""
    fields = {
        "name": "mine",
        "task": "facies",
        "bands": BANDS,
        "mean": (0.5, 0.45, 0.4, 0.2),
        "std": (0.3, 0.3, 0.25, 0.2),
        "categories": OF_TASK["facies"],
        "radiometry": ("surface",),
        "resolution_m": (9.0, 31.0),
    }
    return fields | changes


def with_tensors(card, **changes):
    """Return the card of the same weights with some tensors changed."""
    tensors = load_file(card.weights) | changes
    save_file(tensors, card.weights)
    return replace(card, sha256=sha256_of(card.weights))


def foreign(tmp_path, kind=guests.Plain, **changes):
    """Return the card, written by hand, of a network of another package."""
    weights = tmp_path / "guest.safetensors"
    save_file(kind(4, 5).state_dict(), weights)
    name = f"guests:{kind.__name__}"
    more = {"architecture": name, "arguments": guests.ARGUMENTS, "halo": 8, "stride": 4}
    return ModelCard(**fields_of(weights, name="guest", **more | changes))


# --- a network that is not in evaluation mode


def test_a_network_in_training_mode(lazy_cube):
    with told(WeightsError, r"in training mode are \['the network \(Plain\)', 'first.1 \(Batch"):
        gcube.predict(lazy_cube, hold(guests.build(4, 5), **described()))


def test_a_network_without_a_card(lazy_cube):
    for network in (guests.Plain(4, 5), nn.Sequential(nn.Conv2d(4, 5, 1))):
        match = f"found {type(network).__name__}; for a network in memory, make its card with "
        with told(WeightsError, match):
            gcube.predict(lazy_cube, network.eval())


# --- wrong channels or order


def test_a_cube_without_a_band(lazy_cube, card):
    with told(SchemaError, r"needs the bands .*, the cube lacks \['swir16'\]; it has "):
        gcube.predict(lazy_cube.sel(band=["green", "red", "nir"]), card)


def test_a_cube_with_a_band_twice(lazy_cube, card):
    twice = lazy_cube.isel(band=[0, 1, 1, *range(2, lazy_cube.sizes["band"])])
    with told(SchemaError, r"needs each of its bands once, the cube has \['green'\] more than"):
        gcube.predict(twice, card)


def test_two_channels_of_one_band(lazy_cube, card):
    both = replace(card, bands=("green", "nir08", "nir|nir08", "swir16"))
    without = lazy_cube.drop_sel(band="nir")
    with told(SchemaError, r"would take \{'nir08': \['nir or nir08', 'nir08'\]\} alike"):
        gcube.predict(without, both)


def test_bands_in_another_order_are_no_mistake(lazy_cube, card):
    with lazily():
        gcube.predict(lazy_cube.isel(band=slice(None, None, -1)), card)


def test_weights_of_other_channels(lazy_cube, card):
    first = torch.zeros(16, 5, 1, 1)
    other = with_tensors(card, **{"pixel.1.weight": first})
    with told(WeightsError, r"'pixel.1.weight' has shape \(16, 5, 1, 1\), needs \(16, 4, 1, 1\)"):
        gcube.predict(lazy_cube, other)


def test_weights_of_other_categories(lazy_cube, card):
    with told(WeightsError, r"'scores.2.weight' has shape \(5, 16, 1, 1\), needs \(4, 16, 1, 1\)"):
        gcube.predict(lazy_cube, replace(card, categories=card.categories[:4]))


def test_a_network_in_memory_of_other_channels(lazy_cube):
    with told(WeightsError, r"must take images \(1, 4, y, x\).*to have 3 channels, but got 4"):
        gcube.predict(lazy_cube, hold(guests.Plain(3, 5).eval(), **described()))


def test_a_network_of_another_package_of_other_channels(lazy_cube, tmp_path):
    other = replace(foreign(tmp_path), arguments={"channels": 3, "classes": 5})
    with told(WeightsError, r"'first.0.weight' has shape \(4, 4, 3, 3\), needs \(4, 3, 3, 3\)"):
        gcube.predict(lazy_cube, other)
    Path(other.weights).unlink()
    with told(WeightsError, r"guest with the bands \['green', .*to have 3 channels, but got 4"):
        gcube.predict(lazy_cube, other)


def test_categories_of_members_in_another_order(lazy_cube, card):
    other = replace(card, name="second", categories=card.categories[::-1])
    with told(WeightsError, r"the same categories in the same order; .*second has \['land'"):
        gcube.predict(lazy_cube, [card, other])


# --- an output whose size is not that of the input


def test_a_network_in_memory_that_loses_its_borders(lazy_cube):
    with told(WeightsError, r"scores of the size of its input, .*found \(1, 5, 62, 30\)"):
        gcube.predict(lazy_cube, hold(guests.Cropped(4, 5).eval(), **described()))


@pytest.mark.parametrize("here", [True, False], ids=["weights here", "weights elsewhere"])
def test_a_network_of_another_package_that_loses_its_borders(lazy_cube, tmp_path, here):
    card = foreign(tmp_path, guests.Cropped, halo=1, stride=1)
    if not here:
        Path(card.weights).unlink()
    with told(WeightsError, r"guest with .*size of its input, .*found \(1, 5, 62, 30\)"):
        gcube.predict(lazy_cube, card)
    inspected = replace(card, inspection={"exact": True, "halo": 1, "stride": 1})
    match = r"scores of shape \(1, 5, 64, 65\) for an image of shape \(1, 4, 64, 65\), found \(1, 5"
    with told(WeightsError, match):
        gcube.predict(lazy_cube, inspected)


def test_a_network_that_gives_other_categories(lazy_cube):
    match = r"shape \(1, 5, 64, 68\) .*, found \(1, 6, 64, 68\): one for each of \['ice', 'snow'"
    with told(WeightsError, match):
        gcube.predict(lazy_cube, hold(guests.Plain(4, 6).eval(), **described()))


def test_a_network_that_looks_farther_than_its_card_says(lazy_cube, tmp_path):
    for changes, match in (
        ({"halo": 4}, r"'halo' must be 8 or more as the inspection found, found 4"),
        ({"stride": 2}, r"'stride' must be a multiple of 4 as the inspection found, not 2"),
    ):
        with told(WeightsError, match):
            gcube.predict(lazy_cube, foreign(tmp_path, **changes))
    with told(WeightsError, r"'exact' must be False, the inspection found \[.*the whole tile"):
        gcube.predict(lazy_cube, foreign(tmp_path, guests.Pooled, halo=0, stride=1))


# --- NaN in the weights


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(lazy_cube, card, value):
    broken = with_tensors(card, **{"scores.0.bias": torch.full((16,), value)})
    with told(WeightsError, r"must be finite, but \['scores.0.bias'\] hold NaN or infinity"):
        gcube.predict(lazy_cube, broken)


def test_a_network_in_memory_that_is_not_finite(lazy_cube):
    network = guests.Plain(4, 5).eval()
    network.scores.bias.data[2] = float("nan")
    with told(WeightsError, r"network Plain must be finite, but \['scores.bias'\] hold NaN"):
        gcube.predict(lazy_cube, hold(network, **described()))


def test_weights_that_are_corrupt(lazy_cube, card):
    content = bytearray(Path(card.weights).read_bytes())
    content[-5] ^= 1
    Path(card.weights).write_bytes(content)
    with told(WeightsError, f"need sha256 {card.sha256}, found .*corrupt or another one"):
        gcube.predict(lazy_cube, card)


# --- chunks


def test_chunks_smaller_than_the_halo(lazy_cube, card):
    with told(SchemaError, r"chunks along x must have at least the halo of 3 pixels, found \(2, 2"):
        gcube.predict(lazy_cube.chunk(x=2), card)


def test_a_stored_cube_that_was_chunked_again_is_not_read_directly(cube, card, tmp_path):
    gcube.write(cube.chunk(time=1, band=-1, y=32, x=40), tmp_path / "cube.zarr")
    stored = gcube.read(tmp_path / "cube.zarr")
    for chunks in ({"time": -1}, {"band": 1}):
        with told(SchemaError, r"needs a cube exactly as read\(\) gave it, but \['reflectance'"):
            gcube.predict(stored.chunk(chunks), card, strategy="direct")


def test_bands_in_chunks_whose_sum_is_too_large(lazy_cube, card, monkeypatch):
    monkeypatch.setattr(checks, "LARGEST_MERGED", 400_000)
    match = r"\{'time': 3, 'band': 10, 'y': 96, 'x': 40\} together are .* GiB.*time=1, band=-1"
    with told(SchemaError, match):
        gcube.predict(lazy_cube.chunk(time=-1, band=1, y=96), card)


def test_dates_and_bands_may_be_chunked_otherwise(cube, card):
    whole = gcube.predict(cube, card).compute()
    for chunks in ({"time": 3}, {"time": 2, "band": 1}, {"band": 4}):
        with lazily():
            layers = gcube.predict(cube.chunk({"time": 1, "band": -1, "y": 32} | chunks), card)
        np.testing.assert_array_equal(layers["facies"], whole["facies"])


# --- cards and weights that are not opened


def test_a_card_of_a_newer_version(lazy_cube, path):
    document = json.loads(path.read_text())
    document["properties"]["glaciercube:layout"] = LAYOUT + 1
    path.write_text(json.dumps(document))
    with told(WeightsError, f"has layout {LAYOUT + 1}, this version .* up to {LAYOUT}; update"):
        gcube.predict(lazy_cube, path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pt2", ".pkl", ".ckpt", ".torchscript"])
def test_a_pickle_by_its_name(lazy_cube, card, tmp_path, suffix):
    match = f"model{suffix}': .* runs code when it is opened, so it is never loaded"
    with told(WeightsError, f"a card must be a JSON file, found .*{match}"):
        gcube.predict(lazy_cube, str(tmp_path / f"model{suffix}"))
    for there in (False, True):
        other = replace(card, weights=str(tmp_path / f"model{suffix}"))
        if there:
            Path(other.weights).write_bytes(b"\x80\x04.")
        with told(WeightsError, f"weights must be a safetensors file, found .*{match}"):
            gcube.predict(lazy_cube, other)


def pickled(place):
    torch.save(guests.Plain(4, 5).state_dict(), place)


def scripted(place):
    torch.jit.save(torch.jit.script(nn.Conv2d(4, 5, 1)), place)


def exported(place):
    torch.export.save(torch.export.export(nn.Conv2d(4, 5, 1), (torch.zeros(1, 4, 8, 8),)), place)


def old(place):
    torch.save({"weight": torch.zeros(3)}, place, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("save", "what"),
    [
        (pickled, "a zip archive, such as a PyTorch checkpoint"),
        (scripted, "a zip archive, .* TorchScript"),
        (exported, "a zip archive, .* torch.export archive"),
        (old, "a pickle"),
    ],
)
def test_a_pickle_under_another_name(lazy_cube, card, tmp_path, save, what):
    place = tmp_path / "saved.pt2"
    save(place)
    place.replace(card.weights)
    other = replace(card, sha256=sha256_of(card.weights))
    with told(WeightsError, f"a whole safetensors file, found '.*', which is {what}"):
        gcube.predict(lazy_cube, other)


def test_a_file_that_is_no_safetensors_file(lazy_cube, card):
    Path(card.weights).write_bytes(Path(card.weights).read_bytes()[:-100])
    cut = replace(card, sha256=sha256_of(card.weights))
    with told(WeightsError, "a whole safetensors file, found .*; download or save it again"):
        gcube.predict(lazy_cube, cut)


# --- networks that cannot be built


def test_an_architecture_that_is_not_known(lazy_cube, card):
    with told(
        WeightsError, r"architecture 'vnet'; .*\['facies-cnn', 'fcn', .*'unet'\]; a network of"
    ):
        gcube.predict(lazy_cube, replace(card, architecture="vnet"))


def test_a_package_that_is_not_installed(lazy_cube, tmp_path):
    match = "needs the module 'nobodys.networks', which cannot be imported: .*on every worker"
    with told(WeightsError, match):
        gcube.predict(lazy_cube, foreign(tmp_path, architecture="nobodys.networks:build"))


# --- a network in memory where other processes compute


def test_a_network_in_memory_under_the_scheduler_of_processes(lazy_cube):
    card = hold(guests.seeded(guests.Plain(4, 5)), **described())
    match = r"in the memory of this process, but Dask's scheduler 'processes' computes in others"
    with dask.config.set(scheduler="processes"), pytest.raises(WeightsError, match=match):
        gcube.predict(lazy_cube, card)
