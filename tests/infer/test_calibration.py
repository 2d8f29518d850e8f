"""Networks in 8-bit integers: what is written, what is measured, and when it is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_files
import pytest
import torch
from cards import make_card

from glaciercube.errors import SchemaError, WeightsError
from glaciercube.infer import calibration, runtimes
from glaciercube.infer.calibration import calibrate, tiles_of
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model import channels, networks, registry
from glaciercube.model.card import read_card, write_card
from glaciercube.model.zoo import card_of
from infer.simulated_tiles import tiles

WHOLE = (slice(None), slice(None))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Load networks anew in each test."""
    monkeypatch.setattr(runtimes, "_runtimes", {})


def scores(card, choice, images):
    return runtime_of(ref_for(card, choice)).scores(images, WHOLE)


def noise(count, *, bands=4, side=24):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, bands, side, side)).astype(np.float32)


def test_the_card_says_what_was_written_and_how_well_it_agrees(tmp_path):
    card, given = card_of("facies"), tiles()
    found = calibrate(card, given[4:], held_out=given[:4], folder=tmp_path, source="simulated")
    said = found.quantized
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "facies-int8.bin",
        "facies-int8.xml",
        "facies.safetensors",
    ]
    assert (said["file"], said["images"]) == ("facies-int8.xml", "simulated")
    assert said["pixels"] == given[:4].size // 6
    again = read_card(write_card(found, tmp_path / "facies.json"))
    one, other = (scores(again, choice, given[:4]) for choice in ("torch", "openvino-int8"))
    share = (one.argmax(1) == other.argmax(1)).mean()
    assert share == pytest.approx(said["agreement"], abs=2e-6)
    assert 0.999 <= share < 1


def test_the_same_images_give_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "ENDS", ((3, 3),))
    folders = [tmp_path / "one", tmp_path / "two"]
    cards = [calibrate(card_of("facies"), tiles()[:8], folder=folder) for folder in folders]
    assert cards[0].quantized == cards[1].quantized
    one, two = ((folder / "facies-int8.bin").read_bytes() for folder in folders)
    assert one == two


def test_a_u_net_gets_integers_beside_its_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "AGREEMENT", 0.9)
    arguments = {"width": 8, "depth": 2}
    card = make_card(tmp_path, architecture="unet", arguments=arguments, halo=24, stride=4)
    found = calibrate(card, noise(8))
    assert Path(found.weights) == Path(card.weights)
    assert Path(card.weights).with_name(found.quantized["file"]).is_file()
    assert found.quantized["pixels"] == 2 * 24 * 24
    assert "openvino-int8" in runtimes.candidates(found)
    assert "openvino-int8" not in runtimes.candidates(card)
    expected = scores(card, "torch", noise(1, side=30))
    assert 0 < abs(scores(found, "openvino-int8", noise(1, side=30)) - expected).max()


def test_first_and_last_layers_stay_in_float_where_that_is_needed(tmp_path, monkeypatch):
    tried, original = [], calibration._quantised

    def quantised(model, images, ends, outliers):
        tried.append((ends, outliers))
        wide = [1000 * image for image in images]  # whose steps are far too coarse
        return original(model, wide if ends == (0, 0) else images, ends, outliers)

    monkeypatch.setattr(calibration, "_quantised", quantised)
    found = calibrate(card_of("facies"), tiles()[:8], held_out=tiles()[8:12], folder=tmp_path)
    assert tried[:3] == [((0, 0), 1e-5), ((0, 0), 0.0), ((1, 0), 1e-5)]
    said = found.quantized
    assert tried[-1] == (tuple(said["float32_convolutions"]), said["outliers"])


def test_too_little_agreement_is_refused_with_the_figure(card, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "ENDS", ((0, 0),))
    before = sorted(tmp_path.iterdir())
    text = r"agree with float32 in 99\.9% of the pixels, found 9\d\.\d{3}% of 1152 at best"
    with pytest.raises(WeightsError, match=text):
        calibrate(card, noise(8))
    assert sorted(tmp_path.iterdir()) == before


def test_changed_weights_are_not_copied(tmp_path, card):
    Path(card.weights).write_bytes(b"other")
    with pytest.raises(WeightsError, match="need sha256"):
        calibrate(card, noise(8), folder=tmp_path / "out")


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (noise(7), "needs 8 images or more, found 7"),
        (
            noise(8, bands=3),
            r"images need 4 normalised bands .* number 0 is of shape \(3, 24, 24\)",
        ),
        (np.where(noise(8) > 4, np.nan, noise(8))[::-1] * np.inf, "must be finite, number 0 holds"),
    ],
)
def test_images_that_do_not_do_are_named(card, images, text):
    with np.errstate(invalid="ignore"), pytest.raises(WeightsError, match=text):
        calibrate(card, images)


def test_held_out_images_are_checked_too(card):
    with pytest.raises(WeightsError, match="held_out need 4 normalised bands"):
        calibrate(card, noise(8), held_out=noise(1, bands=2))


def test_a_network_that_comes_as_onnx_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="needs a torch network, 'small-facies' comes as ONNX"):
        calibrate(onnx_files.onnx_card(tmp_path), noise(8))


def test_a_network_in_memory_is_refused(card):
    held = registry.hold(networks.build(card).eval(), card)
    with pytest.raises(WeightsError, match="'small-facies' lives in memory"):
        calibrate(held, noise(8))


# --- images from a cube


def test_images_of_a_cube_are_what_the_network_sees(cube, card):
    found = tiles_of(cube, card, count=5, side=16)
    assert [image.shape for image in found] == [(4, 16, 16)] * 5
    whole = [
        channels.stack(cube["reflectance"].values[date], list(cube["band"].values), card)[0]
        for date in range(cube.sizes["time"])
    ]
    views = [np.lib.stride_tricks.sliding_window_view(one, (4, 16, 16)) for one in whole]
    for image in found:
        assert any((view == image).all(axis=(3, 4, 5)).any() for view in views)


def test_the_seed_says_which_images(cube, card):
    one, same, other = (tiles_of(cube, card, count=3, side=16, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (np.stack(one) != np.stack(other)).any()


def test_images_are_as_large_as_the_cube_and_the_stride_allow(cube, card):
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    found = tiles_of(cube, replace(card, stride=8), count=1, side=4096)[0]
    assert found.shape == (4, rows // 8 * 8, columns // 8 * 8)
    windowed = replace(card, window=16, exact=False)
    assert tiles_of(cube, windowed, count=1)[0].shape == (4, 16, 16)


def test_a_cube_of_which_little_was_measured_is_named(cube, card):
    nothing = cube.assign(valid=cube["valid"] & False)
    with pytest.raises(SchemaError, match="needs 2 images of 16 x 16 .*, found 0 in 40 tries"):
        tiles_of(nothing, card, count=2, side=16)


def test_torch_is_left_with_its_threads(card):
    before = torch.get_num_threads()
    runtime_of(ref_for(card, "openvino"))
    assert torch.get_num_threads() == before
