"""Networks in OpenVINO give what they give in torch; in 8-bit integers, nearly."""

import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from cards import make_card
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.infer import calibration, choices, runtime_openvino, runtimes, threads
from glaciercube.infer.calibration import calibrate
from glaciercube.infer.choices import Sample
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model import channels, networks, registry
from glaciercube.model.card import read_card
from glaciercube.model.zoo import card_of
from glaciercube.store.reading import read
from glaciercube.store.writing import write

pytest.importorskip("openvino")
BFLOAT16 = pytest.mark.skipif(
    "not __import__('glaciercube.infer.runtime_torch').infer.runtime_torch.has_bfloat16('cpu')",
    reason="this processor has no bfloat16",
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Load networks anew in each test."""
    monkeypatch.setattr(runtimes, "_runtimes", {})
    monkeypatch.setattr(runtimes, "loads", type(runtimes.loads)())


def images(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def by_hand(card, given, inner):
    with torch.inference_mode():
        return registry.network_of(card)(torch.from_numpy(given))[:, :, inner[0], inner[1]].numpy()


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (3, 4, 33, 57), (1, 4, 7, 9), (2, 4, 130, 31)])
def test_scores_are_those_of_the_network(card, shape):
    given, inner = images(shape), (slice(2, shape[2]), slice(0, shape[3] - 3))
    found = runtime_of(ref_for(card, "openvino")).scores(given, inner)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(found, by_hand(card, given, inner), rtol=0, atol=1e-5)


def test_a_network_with_strides_takes_any_size(tmp_path):
    arguments = {"width": 4}
    card = make_card(
        tmp_path, architecture="unet", arguments=arguments, halo=96, stride=16, width=4
    )
    run = runtime_of(ref_for(card, "openvino")).scores
    for shape in [(1, 4, 48, 80), (1, 4, 51, 37)]:
        whole = (slice(0, shape[2]), slice(0, shape[3]))
        given = images(shape)
        found = run(given, whole)
        np.testing.assert_allclose(found, by_hand(card, given, whole), rtol=0, atol=1e-4)


def test_a_tile_with_its_halo_gives_what_the_whole_image_gives(card):
    run = runtime_of(ref_for(card, "openvino")).scores
    given = images((1, 4, 90, 70))
    whole = run(given, (slice(0, 90), slice(0, 70)))
    part = np.ascontiguousarray(given[:, :, 17 : 60 + 3, 20:70])
    found = run(part, (slice(3, 43), slice(3, 50)))
    np.testing.assert_allclose(found, whole[:, :, 20:60, 23:70], rtol=0, atol=1e-6)


@BFLOAT16
def test_bfloat16_is_bfloat16(card):
    given, inner = images((1, 4, 64, 64)), (slice(0, 64), slice(0, 64))
    found = runtime_of(ref_for(card, "openvino-bfloat16")).scores(given, inner)
    assert 1e-4 < abs(found - by_hand(card, given, inner)).max() < 0.3


def test_bfloat16_needs_a_processor_that_has_it(card, monkeypatch):
    monkeypatch.setattr(runtime_openvino, "has_bfloat16", lambda place: False)
    with pytest.raises(WeightsError, match="'openvino-bfloat16' needs a processor.*'auto'"):
        runtime_of(ref_for(card, "openvino-bfloat16"))


def test_it_runs_on_the_processor_only(card):
    with pytest.raises(WeightsError, match="OpenVINO runs on 'cpu' only, found the device 'cuda'"):
        runtime_of(ref_for(card, "openvino"), "cuda")


@pytest.mark.parametrize("policy", [(1, 2), (2, 1), (3, 1)])
def test_threads_do_not_disturb_one_another(card, policy):
    run = runtime_of(ref_for(card, "openvino")).scores
    shapes = [(1, 4, 40 + 3 * n, 50) for n in range(12)]
    wanted = [by_hand(card, images(shape, n), whole(shape)) for n, shape in enumerate(shapes)]
    found = [None] * len(shapes)

    def work(n):
        found[n] = run(images(shapes[n], n), whole(shapes[n]))

    threads.set_policy(threads.Policy(*policy))
    try:
        every = [threading.Thread(target=work, args=(n,)) for n in range(len(shapes))]
        for one in every:
            one.start()
        for one in every:
            one.join()
    finally:
        threads.set_policy(None)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def whole(shape):
    return slice(0, shape[2]), slice(0, shape[3])


class Branching(nn.Module):
    """A network that does something else with large images, which no conversion sees."""

    def __init__(self, bands, categories):
        super().__init__()
        self.layer = nn.Conv2d(bands, categories, 3, padding=1)

    def forward(self, image):
        found = self.layer(image)
        return found if image.shape[2] == image.shape[3] else found * 2


def test_a_network_that_was_not_understood_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(networks.__dict__, "NETWORKS", {"branching": Branching})
    card = make_card(tmp_path, architecture="branching", arguments={}, halo=1)
    with pytest.raises(WeightsError, match=r"OpenVINO gives other scores .*37 x 35.*'torch'"):
        runtime_of(ref_for(card, "openvino"))


class Small(nn.Module):
    def __init__(self, bands, categories):
        super().__init__()
        self.layer = nn.Conv2d(bands, categories, 3)

    def forward(self, image):
        return self.layer(image)


def test_an_output_of_another_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(networks.__dict__, "NETWORKS", {"small": Small})
    card = make_card(tmp_path, architecture="small", arguments={}, halo=1)
    with pytest.raises(WeightsError, match=r"must give scores of shape .*must have the size"):
        runtime_of(ref_for(card, "openvino"))


def test_nobody_is_told(card, monkeypatch):
    seen = []
    openvino = pytest.importorskip("openvino")
    original = openvino.convert_model
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(
        openvino,
        "convert_model",
        lambda *some, **more: (seen.append(os.environ.get("CI")), original(*some, **more))[1],
    )
    runtime_of(ref_for(card, "openvino"))
    assert seen == ["true"]
    assert "CI" not in os.environ


# --- 8-bit integers


@pytest.fixture
def bundled(tmp_path):
    """Return a copy of the bundled facies card, and tiles as it may see them."""
    card = card_of("facies")
    weights = tmp_path / "facies.safetensors"
    weights.write_bytes(registry.place_of(card).read_bytes())
    return replace(card, weights=str(weights), quantized={})


@pytest.fixture
def tiles(bundled):
    """Return smooth tiles, most of whose pixels are far from the border of a class."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(8):
        spectra = generator.normal(0, 1, (len(bundled.bands), 2, 2)).astype(np.float32)
        image = np.ascontiguousarray(spectra.repeat(80, 1).repeat(80, 2))
        image += generator.normal(0, 0.02, image.shape).astype(np.float32)
        found.append(Sample(image, np.ones((160, 160), bool)))
    return found


@pytest.mark.slow
def test_a_card_is_calibrated_once_and_runs_in_integers(bundled, tiles, tmp_path, monkeypatch):
    pytest.importorskip("nncf")
    monkeypatch.setattr(calibration, "AGREEMENT", 0.9)
    card = calibrate(bundled, tiles, tmp_path / "facies.json")
    assert read_card(tmp_path / "facies.json").quantized == card.quantized
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "facies-int8.bin", "facies-int8.xml", "facies.json", "facies.safetensors",
    ]  # fmt: skip
    assert card.quantized["pixels"] == 2 * 160 * 160
    found = choices.compared(card, "openvino-int8", tiles[3::4])
    assert found.agreement == card.quantized["agreement"] > 0.9
    assert "openvino-int8" in runtimes.candidates(card)
    again = calibrate(bundled, tiles, tmp_path / "facies.json")
    same = ("file", "sha256_bin", "agreement", "pixels")  # names within the graph are made up anew
    assert {key: again.quantized[key] for key in same} == {key: card.quantized[key] for key in same}
    card = again
    for end in ("xml", "bin"):
        place = tmp_path / f"facies-int8.{end}"
        before = place.read_bytes()
        place.write_bytes(before[:-1] + b"!")
        with pytest.raises(WeightsError, match=rf"facies-int8\.{end}' need sha256 .* calibrate"):
            runtime_openvino.open_network(ref_for(card, "openvino-int8"))
        place.unlink()
        with pytest.raises(WeightsError, match=rf"facies-int8\.{end}', but there is no such file"):
            runtime_openvino.open_network(ref_for(card, "openvino-int8"))
        place.write_bytes(before)


@pytest.mark.slow
def test_integers_that_disagree_are_not_kept(bundled, tiles, tmp_path, monkeypatch):
    pytest.importorskip("nncf")
    monkeypatch.setattr(calibration, "AGREEMENT", 1.1)
    with pytest.raises(WeightsError, match=r"8-bit integers gives .* of 51200 pixels, needs 110 %"):
        calibrate(bundled, tiles, tmp_path / "facies.json")
    assert [path.name for path in tmp_path.iterdir()] == ["facies.safetensors"]


def test_tiles_are_what_the_network_sees_of_a_cube(cube, card, tmp_path):
    assert len(calibration.tiles_of(cube, card, count=1)) == 1
    tiles = calibration.tiles_of(cube, card)
    assert len(tiles) == 3
    names = [str(name) for name in cube["band"].values]
    for one in tiles:
        dates = [
            channels.stack(cube["reflectance"].values[date], names, card)[0] for date in range(3)
        ]
        assert any(np.array_equal(one.image, image) for image in dates)
        np.testing.assert_array_equal(one.measured, cube["valid"].values[0])
    write(cube.chunk(time=1, band=-1, y=48, x=40), tmp_path / "cube.zarr")
    stored = calibration.tiles_of(read(tmp_path / "cube.zarr"), card)
    assert [one.image.shape for one in stored] == [one.image.shape for one in tiles]


def test_a_card_of_fixed_windows_gets_such_tiles(cube, card):
    fixed = replace(card, exact=False, window=64)
    assert {one.image.shape for one in calibration.tiles_of(cube, fixed)} == {(4, 64, 64)}


def test_too_few_tiles_calibrate_nothing(bundled, tiles, tmp_path):
    with pytest.raises(WeightsError, match=r"4 tiles or more, and 10000 .* found 3 and 0; give"):
        calibrate(bundled, tiles[:3], tmp_path / "facies.json")
    none = [replace(tile, measured=np.zeros((160, 160), bool)) for tile in tiles]
    with pytest.raises(WeightsError, match=r"found 8 and 0; give more or larger tiles"):
        calibrate(bundled, none, tmp_path / "facies.json")


def test_integers_need_a_card_that_has_them(card):
    with pytest.raises(WeightsError, match="small-facies has no 8-bit integers.*calibrate"):
        runtime_of(ref_for(card, "openvino-int8"))


def test_ways_that_are_worth_measuring(card, monkeypatch):
    assert runtimes.candidates(card)[0] == "torch"
    assert "openvino" in runtimes.candidates(card)
    assert "openvino-int8" not in runtimes.candidates(card)
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    assert set(runtimes.candidates(card)) <= {"torch", "torch-bfloat16"}
    assert json.dumps(runtimes.candidates(card))
