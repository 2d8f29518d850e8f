"""Dates taken apart, joined and summed up: the numbers that five dimensions would give."""

import torch
from torch import nn

from glaciercube.model import series


def some(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def test_dates_of_several_images_are_taken_apart_in_order():
    image = some(2, 12, 3, 4)
    found = series.taken_apart(image, count=3, day=True)
    assert found.values.shape == (6, 4, 3, 4)
    for number in range(6):
        one = image[number // 3, 4 * (number % 3) :][:4]
        measured = one[2] > 0
        assert 0 < measured.sum() < measured.numel()
        assert torch.equal(found.measured[number, 0], measured.float())
        assert torch.equal(found.values[number], one * measured)
        assert torch.equal(found.days[number, 0], one[3])


def test_without_a_day_the_mask_is_last():
    image = some(1, 9, 3, 4)
    found = series.taken_apart(image, count=3, day=False)
    assert torch.equal(found.measured[1, 0], (image[0, 5] > 0).float())


def test_what_is_not_measured_may_be_anything():
    image = some(1, 6, 5, 5)
    other = image.clone()
    for mask in (2, 5):
        hidden = image[0, mask] <= 0
        other[0, mask - 2 : mask, hidden] = torch.inf
        other[0, mask - 1, hidden] = torch.nan
    one, found = (series.taken_apart(each, 2, day=False) for each in (image, other))
    assert torch.equal(one.values, found.values)


def test_a_convolution_of_neighbours_is_one_along_time():
    plain = nn.Conv3d(4, 5, 3, padding=1)
    flat = nn.Conv2d(3 * 4, 5, 3, padding=1)
    with torch.no_grad():
        flat.weight.copy_(plain.weight.transpose(1, 2).flatten(1, 2))
        flat.bias.copy_(plain.bias)
    dates = some(2, 6, 4, 7, 8)  # n, count, channels, y, x
    expected = plain(dates.transpose(1, 2)).transpose(1, 2)
    found = flat(series.neighbours(dates.flatten(0, 1), 6)).unflatten(0, (2, 6))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_shares_are_a_softmax_of_what_was_measured():
    scores, measured = some(6, 2, 3, 4), (some(6, 1, 3, 4) > -0.5).float()
    measured[:3, :, 0, 0] = 0
    found = series.shares(scores, measured, 3).unflatten(0, (2, 3))
    seen = measured.unflatten(0, (2, 3))
    parts = scores.unflatten(0, (2, 3)).exp() * seen
    expected = parts / parts.sum(1, keepdim=True).clamp(min=1e-30)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert (found[(seen == 0).expand_as(found)] == 0).all()
    assert (found[0, :, :, 0, 0] == 0).all()


def test_each_head_weighs_its_own_channels():
    dates, weights = some(6, 4, 3, 5), some(6, 2, 3, 5)
    found = series.summed(dates, weights, count=3, heads=2)
    one, other = dates.unflatten(0, (2, 3)), weights.unflatten(0, (2, 3))
    for channel in range(4):
        expected = (one[:, :, channel] * other[:, :, channel // 2]).sum(1)
        torch.testing.assert_close(found[:, channel], expected)
