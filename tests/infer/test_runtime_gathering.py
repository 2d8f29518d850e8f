"""Batches that wait for a GPU at the same time go through it together."""

from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Event
from time import sleep

import numpy as np
import pytest
import torch
from cards import make_card
from torch import nn

from glaciercube.errors import GlacierCubeError
from glaciercube.infer.runtime_gathering import Gathering
from glaciercube.infer.runtime_torch import TorchRuntime
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model import networks

WHOLE = (slice(None), slice(None))


def batch(value, images=1, side=4):
    return torch.full((images, 2, side, side), float(value))


class Device:
    """Doubles what it is given; its first pass waits until it is let go."""

    def __init__(self):
        self.passes: list[list[float]] = []
        self.busy, self.go = Event(), Event()

    def __call__(self, batches, inner):
        self.passes.append([float(one[0, 0, 0, 0]) for one in batches])
        if len(self.passes) == 1:
            self.busy.set()
            assert self.go.wait(60)
        if any((one < 0).any() for one in batches):
            raise ValueError("negative")
        return [2 * one[:, :, inner[0], inner[1]] for one in batches]


def gathered(batches, most=8, inner=WHOLE):
    """Return the passes and the results of batches that wait behind one that is computed."""
    device = Device()
    gathering = Gathering(device, BoundedSemaphore(1))
    with ThreadPoolExecutor(len(batches) + 1) as pool:
        first = pool.submit(gathering.scores, batch(100), WHOLE, most)
        assert device.busy.wait(60)
        others = []
        for number, one in enumerate(batches):
            others.append(pool.submit(gathering.scores, one, inner, most))
            while len(gathering._waiting) <= number and not others[-1].done():
                sleep(0.001)
        device.go.set()
        assert float(first.result(60)[0, 0, 0, 0]) == 200
        for one in others:
            one.exception(60)
    assert not gathering._waiting
    return device.passes[1:], others


def test_what_waits_goes_through_together_and_each_gets_its_own():
    passes, found = gathered([batch(value) for value in range(5)])
    assert sorted(passes[0]) == [0, 1, 2, 3, 4]
    assert len(passes) == 1
    assert [float(one.result()[0, 0, 0, 0]) for one in found] == [0, 2, 4, 6, 8]


def test_no_more_images_than_there_is_room_for():
    passes, _ = gathered([batch(value, images=2) for value in range(5)], most=4)
    assert sorted(len(one) for one in passes) == [1, 2, 2]


def test_a_batch_of_more_goes_alone():
    passes, found = gathered([batch(1, images=9), batch(2)], most=4)
    assert sorted(passes) == [[1], [2]]
    assert len(found[0].result()) == 9


def test_other_sizes_go_on_their_own():
    passes, _ = gathered([batch(1), batch(2, side=5), batch(3)])
    assert sorted(sorted(one) for one in passes) == [[1, 3], [2]]


def test_an_error_is_that_of_its_batch_alone():
    passes, found = gathered([batch(1), batch(-2), batch(3)])
    assert len(passes[0]) == 3
    assert sorted(map(len, passes[1:])) == [1, 1, 1]
    assert float(found[0].result()[0, 0, 0, 0]) == 2
    with pytest.raises(ValueError, match="negative"):
        found[1].result()


class Little(nn.Conv2d):
    """A network that a device has memory for two images of."""

    seen: list[int] = []

    def __init__(self, bands, categories):
        super().__init__(bands, categories, 1)

    def forward(self, image):
        self.seen.append(len(image))
        if len(image) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return super().forward(image)


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """Return a runtime that takes this CPU for a GPU whose first pass waits for `go`."""

    def on_gpu(self, batches, inner):
        self.busy.set()
        assert self.go.wait(60)
        found = self._forward(torch.cat(list(batches)), inner)
        return found.split([len(one) for one in batches])

    monkeypatch.setattr(TorchRuntime, "_on_gpu", on_gpu)
    monkeypatch.setattr(TorchRuntime, "busy", Event(), raising=False)
    monkeypatch.setattr(TorchRuntime, "go", Event(), raising=False)
    monkeypatch.setattr(networks, "NETWORKS", {"little": Little})
    Little.seen.clear()
    card = make_card(tmp_path, architecture="little", arguments={}, halo=0)
    found = runtime_of(ref_for(card, "torch-eager"))
    monkeypatch.setattr(found, "_target", torch.device("cuda"))
    monkeypatch.setattr(found, "batch_pixels", 4 * 64)
    return found


def images(number, count=1):
    return np.random.default_rng(number).normal(size=(count, 4, 8, 8)).astype(np.float32)


def test_too_little_memory_for_several_blocks_takes_fewer_and_loses_none(runtime):
    inner = (slice(1, 8), slice(0, 6))
    with ThreadPoolExecutor(16) as pool:
        found = [pool.submit(runtime.scores, images(0), inner)]
        assert runtime.busy.wait(60)
        found += [pool.submit(runtime.scores, images(number), inner) for number in range(1, 16)]
        while len(runtime._gathering._waiting) < 8:
            sleep(0.001)
        runtime.go.set()
        arrays = [one.result(60) for one in found]
    assert max(Little.seen) in (3, 4)
    assert runtime.batch_pixels <= 2 * 64
    for number, array in enumerate(arrays):
        expected = runtime._network(torch.from_numpy(images(number))).detach().numpy()
        np.testing.assert_allclose(array, expected[:, :, 1:8, 0:6], rtol=0, atol=1e-6)


def test_a_batch_alone_is_halved_as_before(runtime):
    runtime.go.set()
    assert runtime.scores(images(3, count=4), WHOLE).shape == (4, 5, 8, 8)
    assert Little.seen == [4, 2, 2]


def test_one_image_that_is_too_large_is_said(runtime, monkeypatch):
    runtime.go.set()
    monkeypatch.setattr(Little, "forward", _no_room)
    with pytest.raises(GlacierCubeError, match="too small for one image of 8 x 8 pixels"):
        runtime.scores(images(3), WHOLE)


def _no_room(self, image):
    raise torch.cuda.OutOfMemoryError("no room")
