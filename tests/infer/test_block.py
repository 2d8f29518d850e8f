import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from cards import make_card

from glaciercube.errors import WeightsError
from glaciercube.infer import block
from glaciercube.infer.reads import Read
from glaciercube.infer.work import Work
from glaciercube.model.reference import ref_of
from glaciercube.windows import Window

TARGET, OUTER = Window(3, 17, 3, 23), Window(0, 20, 0, 26)
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


def predict_block(values, valid, work, target=TARGET, wanted=None):
    """Return the planes of a part of a small image that was read as a whole."""
    wanted = np.ones(target.shape, bool) if wanted is None else wanted
    read = Read.of(values, valid, OUTER)
    return block.predict_block(read, wanted, work=work, target=target)


def test_planes_come_in_the_order_asked_for(values, work):
    valid = np.ones((20, 26), bool)
    out = predict_block(values, valid, work)
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
    facies, confidence, share, _ = predict_block(values, valid, work)
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
    out = predict_block(holed, valid, work)
    other = predict_block(filled, np.ones_like(valid), work)
    seen = out[0] != 255
    np.testing.assert_allclose(out[3][seen], other[3][seen], rtol=0, atol=1e-6)


def test_a_block_whose_halo_alone_was_measured_skips_the_network(values, work, forwards):
    valid = np.zeros((20, 26), bool)
    valid[:3] = True
    out = predict_block(values, valid, work)
    assert forwards == []
    np.testing.assert_array_equal(out, work.blank((14, 20)))


def test_infinite_reflectance_is_not_measured(values, work):
    values[2, 10, 12] = np.inf
    out = predict_block(values, np.ones((20, 26), bool), work)
    assert out[0, 7, 9] == 255
    assert np.isfinite(out[1]).sum() == 14 * 20 - 1


def test_temperature_changes_confidence_and_no_code(values, work, card, tmp_path):
    valid = np.ones((20, 26), bool)
    warm = predict_block(values, valid, work)
    cold_work = replace(work, refs=(ref_of(replace(card, temperature=0.5)),))
    cold = predict_block(values, valid, cold_work)
    np.testing.assert_array_equal(cold[0], warm[0])
    assert cold[1].mean() > warm[1].mean() + 0.05


def test_an_ensemble_says_the_mean_of_its_members(values, work, tmp_path):
    valid = np.ones((20, 26), bool)
    other = ref_of(make_card(tmp_path, seed=9))
    planes = ("probability/snow", "confidence", "entropy", "mutual_information")
    alone = [
        predict_block(values, valid, replace(work, refs=(ref,), planes=planes))
        for ref in (work.refs[0], other)
    ]
    both = predict_block(values, valid, replace(work, refs=(*work.refs, other), planes=planes))
    np.testing.assert_allclose(both[0], (alone[0][0] + alone[1][0]) / 2, rtol=0, atol=1e-6)
    assert (alone[0][3] == 0).all()
    assert both[3].max() > 0.01
    mean_entropy = (alone[0][2] + alone[1][2]) / 2
    np.testing.assert_allclose(both[2], mean_entropy + both[3], rtol=0, atol=1e-5)


def test_members_that_are_equal_know_the_same(values, work):
    valid = np.ones((20, 26), bool)
    twice = replace(work, refs=work.refs * 2, planes=("facies", "mutual_information"))
    out = predict_block(values, valid, twice)
    np.testing.assert_array_equal(out[0], predict_block(values, valid, work)[0])
    assert out[1].max() < 1e-5


def test_only_what_is_wanted_is_reported_and_computed(values, work, forwards):
    wanted = np.zeros(TARGET.shape, bool)
    wanted[2:5, 4:9] = True
    valid = np.ones((20, 26), bool)
    whole = predict_block(values, valid, work)
    part = Window(5, 8, 7, 12)
    out = predict_block(values, valid, work, target=part, wanted=np.ones(part.shape, bool))
    assert forwards[-1] == (1, 4, 3 + 6, 5 + 6)
    masked = predict_block(values, valid, work, wanted=wanted)
    for plane, same, cut in zip(whole, masked, out, strict=True):
        np.testing.assert_allclose(same[wanted], plane[wanted], rtol=0, atol=1e-6)
        np.testing.assert_allclose(cut.ravel(), plane[wanted], rtol=0, atol=1e-6)
    assert (masked[0][~wanted] == 255).all()
    assert np.isnan(masked[1][~wanted]).all()


def test_codes_are_those_of_the_shares(values, work):
    valid = np.ones((20, 26), bool)
    valid[10, 12] = False
    shares = predict_block(values, valid, work)
    codes = predict_block(values, valid, replace(work, quantized=True))
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes[0], shares[0])
    expected = np.floor(shares[1:].astype(np.float64) * 250 + 0.5)
    np.testing.assert_array_equal(codes[1:], np.where(np.isnan(expected), 255, expected))


def test_the_users_torch_settings_are_left_alone():
    code = (
        "import torch\n"
        "before = torch.get_num_threads(), torch.is_grad_enabled()\n"
        "import glaciercube.infer.block\n"
        "assert (torch.get_num_threads(), torch.is_grad_enabled()) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_no_class(card, strange):
    scores = np.zeros((1, 5, 3, 4), np.float32)
    scores[0, slice(None) if not strange > 0 else 2, 1, 1] = strange
    with pytest.raises(WeightsError, match=r"'small-facies' must give finite scores.*train again"):
        block._softmax(scores, card)


@pytest.mark.parametrize("shape", [(62, 70), (47, 33), (5, 7)])
def test_probabilities_do_not_depend_on_threads_or_on_the_part(card, shape):
    scores = np.random.default_rng(0).normal(0, 5, (1, 5, *shape)).astype(np.float32)
    expected = (torch.from_numpy(scores).double() / card.temperature).softmax(dim=1).numpy()
    whole = block._softmax(scores.copy(), card)
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-6)
    part = block._softmax(scores[..., 1:, 2:].copy(), card)
    np.testing.assert_array_equal(part, whole[..., 1:, 2:])


def test_the_first_of_equal_categories_is_reported():
    share = np.float32([[[0.2, 0.4]], [[0.4, 0.4]], [[0.4, 0.2]]])
    number, best = block._highest(share)
    assert number.tolist() == [[1, 0]]
    np.testing.assert_array_equal(best, share.max(axis=0))
