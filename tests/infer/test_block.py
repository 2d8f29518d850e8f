import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from glaciercube.infer import block
from glaciercube.infer.block import forward_slots, nothing, predict_block
from glaciercube.infer.work import Work
from glaciercube.model import registry
from glaciercube.model.reference import ref_of

INNER = (slice(3, 17), slice(3, 23))
PLANES = ("facies", "confidence", "valid_fraction", "probability/snow")


@pytest.fixture
def work(card):
    bands = ("green", "red", "nir", "swir16")
    return Work(
        refs=(ref_of(card),),
        bands=bands,
        planes=PLANES,
        halo=3,
        stride=1,
        chunks=((1,), (20,), (26,)),
        times=("2021-08-01",),
        positions=(0, 1, 2, 3),
    )


@pytest.fixture
def values():
    return np.random.default_rng(0).uniform(-0.02, 1.2, (4, 20, 26)).astype(np.float32)


def test_planes_come_in_the_order_asked_for(values, work):
    valid = np.ones((20, 26), bool)
    out = predict_block(values, valid, work, INNER)
    assert out.shape == (4, 14, 20)
    assert out.dtype == np.float32
    facies, confidence, share, snow = out
    assert set(np.unique(facies)) <= {0, 1, 2, 7, 8}
    assert (confidence >= 1 / 5).all()
    assert (confidence <= 1).all()
    np.testing.assert_array_equal(share, np.float32(1))
    np.testing.assert_array_equal(snow[facies == 1], confidence[facies == 1])
    assert (snow[facies != 1] <= confidence[facies != 1]).all()


def test_what_was_not_measured_is_nodata_and_counts_in_its_surroundings(values, work):
    valid = np.ones((20, 26), bool)
    valid[10, 12] = False
    facies, confidence, share, _ = predict_block(values, valid, work, INNER)
    assert facies[7, 9] == 255
    assert np.isnan(confidence[7, 9])
    assert np.isnan(share[7, 9])
    assert share[7, 10] == np.float32(48 / 49)
    assert share[7, 13] == 1
    assert (facies == 255).sum() == 1


def test_a_hole_reads_as_the_training_mean(values, work, card):
    valid = np.ones((20, 26), bool)
    valid[8:12, 10:14] = False
    filled = values.copy()
    filled[:, 8:12, 10:14] = np.array(card.mean, np.float32)[:, np.newaxis, np.newaxis]
    holed = np.where(valid, values, np.float32(np.nan))
    out = predict_block(holed, valid, work, INNER)
    other = predict_block(filled, np.ones_like(valid), work, INNER)
    seen = out[0] != 255
    np.testing.assert_allclose(out[3][seen], other[3][seen], rtol=0, atol=1e-6)


def test_a_block_whose_halo_alone_was_measured_skips_the_network(values, work, forwards):
    valid = np.zeros((20, 26), bool)
    valid[:3] = True
    out = predict_block(values, valid, work, INNER)
    assert forwards == []
    np.testing.assert_array_equal(out, nothing(PLANES, (14, 20)))


def test_infinite_reflectance_is_not_measured(values, work):
    values[2, 10, 12] = np.inf
    out = predict_block(values, np.ones((20, 26), bool), work, INNER)
    assert out[0, 7, 9] == 255
    assert np.isfinite(out[1]).sum() == 14 * 20 - 1


def test_temperature_changes_confidence_and_no_code(values, work, card, tmp_path):
    valid = np.ones((20, 26), bool)
    warm = predict_block(values, valid, work, INNER)
    cold_ref = ref_of(type(card)(**vars(card) | {"temperature": 0.5}))
    cold_work = type(work)(**vars(work) | {"refs": (cold_ref,)})
    cold = predict_block(values, valid, cold_work, INNER)
    np.testing.assert_array_equal(cold[0], warm[0])
    assert cold[1].mean() > warm[1].mean() + 0.05


def test_forward_passes_fill_the_cores_once(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for threads, slots in ((1, 8), (4, 2), (8, 1), (16, 1)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert forward_slots() == slots


def test_no_more_forward_passes_than_slots_run_at_a_time(values, work, monkeypatch):
    monkeypatch.setattr(block, "_slots", threading.BoundedSemaphore(2))
    running, most, lock = [], [], threading.Lock()
    both = threading.Barrier(2, timeout=30)

    def network(image):
        with lock:
            running.append(1)
            most.append(len(running))
        both.wait()
        with lock:
            running.pop()
        return torch.zeros(1, 5, *image.shape[2:])

    monkeypatch.setattr(registry, "network_of", lambda ref: network)
    arguments = (values, np.ones((20, 26), bool), work, INNER)
    threads = [threading.Thread(target=predict_block, args=arguments) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert max(most) == 2
    assert len(most) == 6


def test_the_users_torch_settings_are_left_alone():
    code = (
        "import torch\n"
        "before = torch.get_num_threads(), torch.is_grad_enabled()\n"
        "import glaciercube.infer.block\n"
        "assert (torch.get_num_threads(), torch.is_grad_enabled()) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
