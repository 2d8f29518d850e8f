"""Metrics against loops, and a temperature that is found again."""

import numpy as np
import pytest

from glaciercube.train import evaluation


@pytest.fixture
def calibrated():
    """Return scores whose softmax is the probability the truth was drawn from."""
    generator = np.random.default_rng(4)
    scores = generator.normal(0, 1.5, (6, 3, 30, 30)).astype(np.float32)
    probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    draw = generator.random((6, 30, 30))
    truth = (draw[:, np.newaxis] > probability.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    return scores, truth.astype(np.uint8)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_a_factor(calibrated, factor):
    scores, truth = calibrated
    # 5400 draws: the estimate is good to a few per cent
    assert evaluation.temperature_of(scores * factor, truth) == pytest.approx(factor, rel=0.08)


def test_calibration_error_falls_with_the_temperature(calibrated):
    scores, truth = calibrated
    names = ("a", "b", "c")
    raw = evaluation.evaluate(scores * 3, truth, names)
    scaled = evaluation.evaluate(scores * 3, truth, names, 3.0)
    assert scaled["expected_calibration_error"] < 0.02 < raw["expected_calibration_error"]
    assert scaled["accuracy"] == raw["accuracy"]


def test_scores_are_those_of_loops():
    truth = np.array([[[0, 0, 1, 1, 255]]], np.uint8)
    said = np.array([0, 1, 1, 1, 0])
    scores = np.where(said == np.arange(3)[:, np.newaxis], 4.0, 0.0).astype(np.float32)
    found = evaluation.evaluate(scores[np.newaxis, :, np.newaxis], truth, ("a", "b", "c"))
    assert found["pixels"] == 4
    assert found["accuracy"] == 0.75
    assert found["iou"] == {"a": 0.5, "b": pytest.approx(2 / 3, abs=1e-4)}
    assert found["f1"] == {"a": pytest.approx(2 / 3, abs=1e-4), "b": 0.8}
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2, abs=1e-4)
