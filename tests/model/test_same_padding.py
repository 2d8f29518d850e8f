"""TensorFlow's "same", worked out by hand."""

import pytest
import torch

from glaciercube.model.same_padding import EndPadded, max_pool, mean_over_time


def test_an_even_kernel_looks_to_the_right_and_down():
    layer = EndPadded(1, 1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]]))
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    expected = torch.tensor([[[[4321.0, 402.0], [43.0, 4.0]]]])
    torch.testing.assert_close(layer(image), expected, rtol=0, atol=0)


def test_the_last_window_is_of_what_it_has():
    volume = torch.arange(5.0).reshape(1, 1, 5, 1, 1) * torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    found = max_pool(volume, (2, 1, 1))
    assert found[0, 0, :, 0].tolist() == [[1, 0], [3, -2], [4, -4]]
    assert mean_over_time(volume, 2)[0, 0, :, 0].tolist() == [[0.5, -0.5], [2.5, -2.5], [4, -4]]


def test_pooling_is_that_of_torch_where_windows_fit():
    volume = torch.randn(2, 3, 6, 8, 10, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.max_pool3d(volume, (2, 4, 2))
    assert torch.equal(max_pool(volume, (2, 4, 2)), expected)
    expected = torch.nn.functional.avg_pool3d(volume, (3, 1, 1))
    torch.testing.assert_close(mean_over_time(volume, 3), expected)


@pytest.mark.parametrize("window", [(1, 2, 2), (2, 2, 2), (15, 1, 1)])
def test_negative_values_are_not_raised_by_padding(window):
    volume = torch.full((1, 2, 15, 5, 7), -3.0)
    assert max_pool(volume, window).max() == -3
