from dataclasses import replace

import numpy as np
import pytest
import torch
from cards import make_card
from torch import nn

from glaciercube.errors import GlacierCubeError, WeightsError
from glaciercube.infer import runtime_torch, runtimes, threads
from glaciercube.infer.runtime_fusion import channels_last, fuse, steady
from glaciercube.infer.runtimes import choice_of, ref_for, runtime_of
from glaciercube.model import networks, registry

INNER = (slice(3, 40), slice(0, 33))
TORCH = ("torch", "torch-eager")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Load networks anew in each test."""
    monkeypatch.setattr(runtimes, "_runtimes", {})
    monkeypatch.setattr(runtimes, "loads", type(runtimes.loads)())


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(3, 4, 48, 33)).astype(np.float32)


def by_hand(card, images, inner=INNER):
    with torch.inference_mode():
        scores = registry.network_of(card)(torch.from_numpy(images))
    return scores[:, :, inner[0], inner[1]].numpy()


@pytest.mark.parametrize("choice", TORCH)
def test_scores_are_those_of_the_network(card, images, choice):
    found = runtime_of(ref_for(card, choice)).scores(images, INNER)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, by_hand(card, images), rtol=0, atol=1e-5)


def test_bfloat16_agrees_in_nearly_all_classes(card, images):
    found = runtime_of(ref_for(card, "torch-bfloat16")).scores(images, INNER)
    expected = by_hand(card, images)
    assert 0 < abs(found - expected).max() < 0.3
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.97


def test_a_network_is_loaded_once_for_all_threads(card):
    ref = ref_for(card)
    assert runtime_of(ref) is runtime_of(replace(ref))
    assert runtime_of(ref_for(card, "torch-eager")) is not runtime_of(ref)
    assert sorted(runtimes.loads.values()) == [1, 1]
    runtimes.forget()
    runtime_of(ref)
    assert sorted(runtimes.loads.values()) == [1, 2]


@pytest.mark.parametrize("choice", TORCH)
def test_the_number_of_threads_changes_no_bit(card, images, choice):
    found = []
    for count in (1, 2, 3):
        threads.set_policy(threads.Policy(1, count))
        try:
            found.append(runtime_of(ref_for(card, "torch")).scores(images, INNER))
        finally:
            threads.set_policy(None)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_torchs_own_threads_are_left_as_they_were(card, images):
    before = torch.get_num_threads()
    threads.set_policy(threads.Policy(1, before + 1))
    try:
        runtime_of(ref_for(card)).scores(images, INNER)
    finally:
        threads.set_policy(None)
    assert torch.get_num_threads() == before


def test_normalisation_goes_into_the_convolution_before_it():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()).eval()
    network[1].running_mean.normal_()
    network[1].running_var.uniform_(0.5, 2)
    image = torch.rand(1, 3, 9, 9)
    expected = network(image)
    changed = fuse(network)
    assert isinstance(changed[1], nn.Identity)
    torch.testing.assert_close(changed(image), expected)


def test_normalisation_that_others_read_too_stays():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, image):
            one = self.one(image)
            return self.two(one) + one

    assert isinstance(fuse(Both().eval()).two, nn.BatchNorm2d)


def test_a_dilation_changes_nothing_of_a_one_by_one_convolution():
    layer = nn.Conv2d(3, 4, 1).eval()
    image = torch.rand(1, 3, 7, 7)
    expected = layer(image)
    torch.testing.assert_close(steady(layer)(image), expected)


class AlongTime(nn.Module):
    """A network of another package that has convolutions of three dimensions."""

    def __init__(self, bands, categories):
        super().__init__()
        self.along = nn.Conv3d(bands // 2, 4, 3, padding=1)
        self.scores = nn.Conv2d(4, categories, 3, padding=1)

    def forward(self, image):
        dates = image.unflatten(1, (2, -1)).transpose(1, 2)
        return self.scores(self.along(dates).amax(dim=2))


@pytest.mark.parametrize("choice", [*TORCH, "torch-bfloat16"])
def test_a_network_may_have_convolutions_along_time(tmp_path, monkeypatch, images, choice):
    monkeypatch.setattr(networks, "NETWORKS", {"along": AlongTime})
    card = make_card(tmp_path, architecture="along", arguments={}, halo=2)
    found = runtime_of(ref_for(card, choice)).scores(images, INNER)
    atol = 0.3 if "bfloat16" in choice else 1e-5
    np.testing.assert_allclose(found, by_hand(card, images), rtol=0, atol=atol)


def test_weights_of_two_dimensions_are_laid_out_channels_last():
    network = channels_last(AlongTime(4, 5))
    assert network.scores.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.along.weight.is_contiguous()


# --- choices


def test_choices_go_both_ways_by_name(card):
    for choice in set(runtimes.CHOICES) - {"onnx"}:
        assert choice_of(ref_for(card, choice)) == choice


def test_a_way_that_is_not_there_is_named(card):
    with pytest.raises(WeightsError, match=r"needs one of \['torch', 'torch-eager'.*found 'fast'"):
        ref_for(card, "fast")
    with pytest.raises(WeightsError, match="found 'torch' in 'float8'"):
        choice_of(replace(ref_for(card), precision="float8"))


# --- devices


def test_a_device_that_torch_does_not_know_is_named(card):
    with pytest.raises(GlacierCubeError, match="such as 'cpu' or 'cuda:0', found 'abacus'"):
        runtime_of(ref_for(card), "abacus")


def test_the_device_is_what_the_environment_says(monkeypatch):
    monkeypatch.setenv("GLACIERCUBE_DEVICE", "cuda:3")
    assert runtime_torch.device() == "cuda:3"
    monkeypatch.delenv("GLACIERCUBE_DEVICE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime_torch.device() == "cuda:0"


class Greedy(nn.Conv2d):
    """A network that a device has memory for one or two images of."""

    most = 2
    seen: list[int] = []

    def __init__(self, bands, categories):
        super().__init__(bands, categories, 1)

    def forward(self, image):
        self.seen.append(len(image))
        if len(image) > self.most:
            raise torch.cuda.OutOfMemoryError("no room")
        return super().forward(image)


@pytest.fixture
def greedy(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "NETWORKS", {"greedy": Greedy})
    Greedy.seen.clear()
    monkeypatch.setattr(Greedy, "most", 2)
    return make_card(tmp_path, seed=4, architecture="greedy", arguments={}, halo=0)


def test_too_little_memory_halves_the_batch_and_goes_on(greedy):
    images = np.random.default_rng(1).normal(size=(9, 4, 16, 16)).astype(np.float32)
    runtime = runtime_of(ref_for(greedy, "torch-eager"))
    whole = (slice(0, 16), slice(0, 16))
    found = runtime.scores(images, whole)
    assert Greedy.seen == [9, 4, 2, 2, 2, 2, 1]
    Greedy.most = 100
    np.testing.assert_allclose(found, by_hand(greedy, images, whole), rtol=0, atol=1e-6)
    Greedy.seen.clear()
    runtime.scores(images, whole)
    assert max(Greedy.seen) == 2


def test_one_image_that_is_too_large_is_said(greedy, monkeypatch):
    monkeypatch.setattr(Greedy, "most", 0)
    images = np.zeros((1, 4, 16, 16), np.float32)
    with pytest.raises(GlacierCubeError, match="too small for one image of 16 x 16 pixels"):
        runtime_of(ref_for(greedy, "torch-eager")).scores(images, (slice(0, 16), slice(0, 16)))


# --- what can run here


def test_the_reference_is_first_and_what_is_slow_is_not_among_the_candidates(card, monkeypatch):
    monkeypatch.setattr(runtime_torch, "has_bfloat16", lambda place: True)
    found = runtimes.candidates(card)
    assert found[:2] == ("torch", "torch-bfloat16")
    assert not {"torch-eager", "torch-compile"} & set(found)
    assert set(found) <= set(runtimes.CHOICES)


def test_bfloat16_is_no_candidate_where_it_would_be_emulated(card, monkeypatch):
    monkeypatch.setattr(runtime_torch, "has_bfloat16", lambda place: False)
    assert not [name for name in runtimes.candidates(card) if "bfloat16" in name]


def test_a_network_in_onnx_has_a_reference_of_its_own(card):
    onnx = replace(card, architecture="onnx", arguments={})
    assert (runtimes.reference_of(card), runtimes.reference_of(onnx)) == ("torch", "onnx")
    assert runtimes.candidates(onnx) == ("onnx",)
