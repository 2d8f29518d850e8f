"""Codes of shares: the very ones that a store writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glaciercube.infer.quantized import blank, decode, encode, put
from glaciercube.schema import LAYERS, PROBABILITY_ENCODING
from glaciercube.store.layout import stored_variable

SHARES = tuple(name for name, layer in LAYERS.items() if layer.encoding)


def stored(name, values):
    dims = ("time", "category", "y", "x")[-values.ndim :]
    return stored_variable(name, dims, values.shape, "float32")


@pytest.mark.parametrize("name", SHARES)
def test_shares_are_stored_as_the_codes_here_say(name):
    assert LAYERS[name].encoding == PROBABILITY_ENCODING


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=6),
        elements=st.one_of(
            st.floats(0, 1, width=32), st.floats(-2, 3, width=32), st.just(float("nan"))
        ),
    )
)
def test_a_store_gives_the_same_codes_and_values(values):
    where = stored("probability", values)
    codes = encode(values)
    assert codes.dtype == np.uint8
    assert np.array_equal(codes, where.encode(values)[0])
    assert np.array_equal(decode(codes), where.decode(codes), equal_nan=True)


def test_every_float_near_the_middle_of_two_codes_is_coded_as_a_store_does():
    middles = ((np.arange(250) + 0.5) / 250).astype(np.float32)
    near = [middles]
    for end in (np.float32(-1), np.float32(2)):
        step = middles
        for _ in range(4):
            step = np.nextafter(step, end)
            near.append(step)
    values = np.stack(near)
    assert np.array_equal(encode(values), stored("confidence", values).encode(values)[0])


def test_strips_and_the_rest_of_the_image_change_no_code():
    values = np.random.default_rng(0).random((3, 300, 700), dtype=np.float32)
    values[1, 200:, 5] = np.nan
    values[2, 7, 7] = 2
    codes = encode(values)
    assert np.array_equal(codes, stored("probability", values).encode(values)[0])
    assert np.array_equal(codes[:, 190:210, 3:9], encode(values[:, 190:210, 3:9]))


def test_a_code_decoded_is_encoded_to_itself():
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(encode(decode(codes)), codes)


def test_a_share_is_kept_to_half_a_step():
    values = np.linspace(0, 1, 10_001, dtype=np.float32)
    assert np.abs(decode(encode(values)) - values).max() < 0.002 + 1e-6


def test_codes_go_where_they_are_asked_for():
    values = np.random.default_rng(1).random((4, 8, 9), dtype=np.float32)
    out = np.zeros((4, 8, 9), np.uint8)
    assert encode(values, out) is out
    assert np.array_equal(out, encode(values))
    assert np.array_equal(encode(values.swapaxes(1, 2)), out.swapaxes(1, 2))


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (2, 0, 3)])
def test_nothing_is_coded_as_nothing(shape):
    assert encode(np.empty(shape, np.float32)).shape == shape


@given(st.booleans(), st.integers(0, 99))
def test_a_block_says_the_same_whether_it_or_the_store_quantizes(quantized, seed):
    rng = np.random.default_rng(seed)
    facies = rng.choice(np.uint8([0, 1, 8, 255]), (5, 6))
    probability = rng.random((3, 5, 6), dtype=np.float32)
    probability[:, facies == 255] = np.nan
    planes = blank((True, False, False, False), (5, 6), quantized)
    assert planes.dtype == (np.uint8 if quantized else np.float32)
    put(planes[0], facies)
    put(planes[1:], probability)
    assert np.array_equal(planes[0].astype(np.uint8), facies)
    codes = planes[1:] if quantized else stored("probability", probability).encode(planes[1:])[0]
    assert np.array_equal(codes, encode(probability))
    if not quantized:
        assert np.array_equal(planes[1:], probability, equal_nan=True)


def test_an_empty_block_says_the_same_whether_it_or_the_store_quantizes():
    codes, values = (blank((True, False), (2, 3), quantized) for quantized in (True, False))
    assert np.array_equal(values[0].astype(np.uint8), codes[0])
    assert np.array_equal(encode(values[1]), codes[1])
    assert stored("confidence", codes[1]).is_blank(codes[1])
