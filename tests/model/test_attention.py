"""Attention over time against the formula with matrices, and what it may not look at."""

import math

import pytest
import torch

from glaciercube.model.attention import TemporalAttention


@pytest.fixture
def attend():
    torch.manual_seed(1)
    network = TemporalAttention(channels=8, count=4, heads=2, keys=3)
    with torch.no_grad():
        network.train()(torch.randn(40, 8, 3, 3), torch.ones(40, 1, 3, 3), torch.zeros(40, 1, 3, 3))
    return network.eval()


def given(days=(-40, -3, 0, 16)):
    generator = torch.Generator().manual_seed(7)
    dates = torch.randn(4, 8, 2, 3, generator=generator)
    away = torch.tensor(days, dtype=torch.float32)[:, None, None, None] / 365
    return dates, torch.ones(4, 1, 2, 3), away.expand(4, 1, 2, 3)


@torch.inference_mode()
def test_is_what_matrices_give(attend):
    dates, measured, days = given()
    found, weights = attend(dates, measured, days)
    values = attend.enter(dates)
    whole = (days * 365).round()
    for head in range(2):
        code = torch.cat(
            [
                wave(whole / 1000 ** (2 * place / 8))
                for place in range(4)
                for wave in (torch.sin, torch.cos)
            ],
            dim=1,
        )
        values[:, 8 * head : 8 * head + 8] += code
    pixel = values[:, :, 1, 2]
    keys = pixel @ attend.keys.weight[:, :, 0, 0].T + attend.keys.bias
    parts = []
    for head in range(2):
        query = attend.query.weight[head, :, 0, 0]
        share = (keys[:, 3 * head : 3 * head + 3] @ query / math.sqrt(3)).softmax(0)
        torch.testing.assert_close(weights[:, head, 1, 2], share, rtol=0, atol=1e-6)
        parts.append(share @ pixel[:, 8 * head : 8 * head + 8])
    expected = attend.leave(torch.cat(parts)[None, :, None, None])
    torch.testing.assert_close(found[:, :, 1, 2], expected[:, :, 0, 0], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_order_of_dates_is_told_by_their_days_alone(attend):
    dates, measured, days = given()
    mixed = [2, 0, 3, 1]
    found, weights = attend(dates[mixed], measured, days[mixed])
    expected, own = attend(dates, measured, days)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(weights, own[mixed], rtol=0, atol=1e-6)
    other, _ = attend(dates[mixed], measured, days)
    assert float((other - expected).abs().max()) > 1e-3


@torch.inference_mode()
def test_a_pixel_does_not_see_others(attend):
    dates, measured, days = given()
    changed = dates.clone()
    changed[:, :, 0, 0] = 99
    one, other = attend(dates, measured, days)[0], attend(changed, measured, days)[0]
    same = (one == other).all(dim=1)[0]
    assert same.flatten().tolist() == [False, *[True] * 5]


@torch.inference_mode()
def test_a_date_that_was_not_measured_weighs_nothing(attend):
    dates, measured, days = given()
    measured[1] = 0
    expected, weights = attend(dates, measured, days)
    assert (weights[1] == 0).all()
    torch.testing.assert_close(weights.sum(0), torch.ones(2, 2, 3), rtol=0, atol=1e-6)
    changed = dates.clone()
    changed[1] = 1e3
    assert torch.equal(attend(changed, measured, days * 2)[1][1], weights[1])
    assert torch.equal(attend(changed, measured, days)[0], expected)


@torch.inference_mode()
def test_without_any_date_all_is_finite(attend):
    dates, measured, days = given()
    found, weights = attend(dates, 0 * measured, days)
    assert torch.isfinite(found).all()
    assert (weights == 0).all()


def test_days_of_half_a_year_are_told_apart_in_bfloat16(attend):
    days = torch.arange(-182, 183, dtype=torch.float32)[:, None, None, None] / 365
    code = attend.encoded(days.to(torch.bfloat16))
    assert code.dtype == torch.float32
    torch.testing.assert_close(code, attend.encoded(days))
