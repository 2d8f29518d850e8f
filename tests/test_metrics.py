import numpy as np
import pytest

from glaciercube.errors import SchemaError
from glaciercube.metrics import confusion, ece, f1, iou, macro_f1


def test_iou_by_counting():
    truth = np.array([[1, 1, 0], [0, 1, 0]], bool)
    estimate = np.array([[1, 0, 0], [1, 1, 0]], bool)
    assert iou(truth, estimate) == 2 / 4
    assert iou(truth, truth) == 1
    assert iou(truth, ~truth) == 0


def test_iou_leaves_out_what_was_not_observed():
    truth = np.array([True, True, False, False])
    estimate = np.array([True, False, True, False])
    assert iou(truth, estimate, observed=np.array([True, False, False, True])) == 1


def test_nothing_to_compare_is_no_agreement():
    none = np.zeros(4, bool)
    assert np.isnan(iou(none, none))
    assert np.isnan(iou(~none, ~none, observed=none))
    assert np.isnan(macro_f1(np.zeros((3, 3), int)))
    assert np.isnan(ece(np.array([np.nan]), np.array([True])))


def test_iou_is_that_of_its_confusion():
    generator = np.random.default_rng(0)
    truth, estimate = generator.random((2, 50, 40)) > 0.6
    counts = confusion(truth.astype(int), estimate.astype(int), 2)
    expected = counts[1, 1] / (counts.sum() - counts[0, 0])
    assert iou(truth, estimate) == pytest.approx(expected, rel=1e-12)


def test_confusion_against_a_loop():
    generator = np.random.default_rng(1)
    truth = generator.choice([0, 1, 2, 255], (30, 20)).astype(np.uint8)
    estimate = generator.choice([0, 1, 2, 255], (30, 20)).astype(np.uint8)
    observed = generator.random((30, 20)) > 0.3
    expected = np.zeros((3, 3), int)
    for a, b, seen in zip(truth.flat, estimate.flat, observed.flat, strict=True):
        if seen and a < 3 and b < 3:
            expected[a, b] += 1
    np.testing.assert_array_equal(confusion(truth, estimate, 3, observed), expected)


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    counts = np.array([[8, 2, 0], [1, 5, 4], [0, 0, 7]])
    precision = np.diag(counts) / counts.sum(axis=0)
    recall = np.diag(counts) / counts.sum(axis=1)
    np.testing.assert_allclose(f1(counts), 2 * precision * recall / (precision + recall))
    assert macro_f1(counts) == pytest.approx(f1(counts).mean())


def test_a_category_that_is_only_estimated_scores_zero():
    assert f1(np.array([[3, 1], [0, 0]]))[1] == 0


def test_calibrated_confidence_has_no_error():
    generator = np.random.default_rng(2)
    confidence = generator.uniform(0.5, 1, 400_000)
    correct = generator.random(400_000) < confidence
    # 400,000 draws in 20 bins: standard error about 0.003 a bin.
    assert ece(confidence, correct) < 0.01
    assert ece(confidence, np.ones(400_000, bool)) == pytest.approx(0.25, abs=0.01)


def test_full_confidence_falls_into_the_last_bin():
    assert ece(np.ones(3, np.float32), np.array([True, True, False])) == pytest.approx(1 / 3)


def test_shapes_that_differ():
    with pytest.raises(SchemaError, match=r"needs one shape, found \(2,\), \(3,\)"):
        iou(np.zeros(2, bool), np.zeros(3, bool))
    with pytest.raises(SchemaError, match=r"observed \(1,\)"):
        confusion(np.zeros(2, int), np.zeros(2, int), 2, observed=np.ones(1, bool))


def test_confidence_in_percent():
    with pytest.raises(SchemaError, match="confidences from 0 to 1, found 50 to 90"):
        ece(np.array([50.0, 90.0]), np.array([True, False]))
