"""Every network of the package in every runtime and through the operator: the same numbers."""

import numpy as np
import pytest
import torch
from affine import Affine
from cards import fields_of, make_card
from conftest import make_cube
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from torch import nn

from glaciercube.infer.lazy import predict
from glaciercube.infer.runtime_fusion import fused
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model import networks, registry
from glaciercube.model.card import ModelCard
from glaciercube.store.reading import read
from glaciercube.store.writing import write

SLOW = [HealthCheck.too_slow]
DAYS = ("2021-07-20", "2021-08-01", "2021-08-11")
SERIES = {"count": 3, "season": ["06-01", "09-30"], "day": True}
VARIANTS = {
    "fcn": {"width": 4, "dilations": [1, 2]},
    "fcn spectral": {"width": 4, "dilations": [], "spectral": True},
    "unet": {"width": 4, "depth": 2},
    "resunet": {"width": 4, "depth": 2},
    "deeplab": {"width": 4, "blocks": 1, "stride": 8, "rates": [1, 2]},
    "utae": {"width": 4, "heads": 2, "depth": 2},
    "resunet3d": {"width": 4, "depth": 2},
    "resunet3d weighted": {"width": 4, "depth": 1, "pooling": "weighted"},
}


PUBLISHED = {"facies-cnn", "glavitu", "icemapper"}
"""Of fixed widths, with weights of their authors: `test_published`."""


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Return a card of each architecture, by the names of the variants."""
    folder, found = tmp_path_factory.mktemp("cards"), {}
    assert {name.split()[0] for name in VARIANTS} == set(networks.NETWORKS) - PUBLISHED
    for seed, (name, arguments) in enumerate(VARIANTS.items()):
        more = {"architecture": name.split()[0], "arguments": arguments}
        if more["architecture"] in ("utae", "resunet3d"):
            more["dates"] = SERIES
        weights = next(folder.glob("*.safetensors"), None) or folder / "none.safetensors"
        weights.touch()
        network = networks.build(ModelCard(**fields_of(weights, **more)))
        more |= {"halo": network.halo, "stride": getattr(network, "stride", 1)}
        found[name] = make_card(folder, seed=seed, **more)
    return found


def by_hand(card, images):
    with torch.inference_mode():
        return registry.network_of(card)(torch.from_numpy(images)).numpy()


def images_of(card, rows, columns, number=2):
    shape = (number, card.channels, rows, columns)
    images = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    for date in range(card.dates.get("count", 0)):
        images[:, 6 * date + 5] = (10 * date - 12) / 365
    return images


def whole(images):
    return slice(0, images.shape[2]), slice(0, images.shape[3])


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=3, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_blocks_of_any_size_give_what_the_whole_image_gives(cards, tmp_path_factory, name, data):
    card = cards[name]
    sides = data.draw(st.tuples(st.integers(9, 30), st.integers(9, 30)), label="sides")
    long = data.draw(st.integers(2 * card.halo + 30, 2 * card.halo + 50), label="long")
    rows, columns = data.draw(st.permutations([long, sides[0]]), label="shape")
    step = sides[1] + card.halo // 2
    sizes = {"y": min(rows, step), "x": min(columns, step)}
    box = GeoBox((rows, columns), Affine(10, 0, 600_000, 0, -10, 5_000_000), "EPSG:32632")
    cube = make_cube(box, DAYS, bands=("green", "red", "nir", "swir16"))
    cube["valid"][1, : rows // 2] = False
    path = tmp_path_factory.mktemp("store") / "cube.zarr"
    write(cube.chunk(time=1, band=-1, **sizes), path)
    outputs = ("facies", "probability")
    stored = read(path)
    expected = predict(stored.compute(), [card], outputs=outputs).compute()
    found = predict(stored, [card], outputs=outputs, strategy="direct").compute()
    np.testing.assert_allclose(
        found["probability"].values, expected["probability"].values, rtol=0, atol=3e-6
    )
    best = np.sort(expected["probability"].values, axis=1)
    clear = ~(best[:, -1] - best[:, -2] < 1e-4)
    np.testing.assert_array_equal(
        np.where(clear, found["facies"], 255), np.where(clear, expected["facies"], 255)
    )


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("choice", ["torch", "torch-eager", "openvino"])
def test_runtimes_give_the_scores_of_the_network(cards, name, choice):
    if choice == "openvino":
        pytest.importorskip("openvino")
    run = runtime_of(ref_for(cards[name], choice)).scores
    for rows, columns in ((32, 40), (37, 27)):
        images = images_of(cards[name], rows, columns)
        expected = by_hand(cards[name], images)
        found = run(images, whole(images))
        largest = float(abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1.0, largest))


@pytest.mark.parametrize("name", VARIANTS)
def test_bfloat16_agrees_in_nearly_all_classes(cards, name):
    images = images_of(cards[name], 64, 48)
    expected = by_hand(cards[name], images)
    found = runtime_of(ref_for(cards[name], "torch-bfloat16")).scores(images, whole(images))
    assert 0 < abs(found - expected).max() < 0.05 * abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.97


@pytest.mark.parametrize("name", VARIANTS)
def test_normalisation_that_follows_a_convolution_is_within_it(cards, name):
    """What is left stands before the first convolution, or does not follow one."""
    ref = ref_for(cards[name], "torch")
    network = fused(lambda: registry.own_network_of(ref), ref.card)
    left = [part for part, one in network.named_modules() if isinstance(one, nn.BatchNorm2d)]
    expected = {"fcn": ["pixel.0"], "utae": ["attend.enter.0", "attend.leave.3"]}
    assert left == expected.get(name.split()[0], [])
