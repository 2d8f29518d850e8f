"""How a store is cut and how values become codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glaciercube.store import layout
from glaciercube.store.layout import Block, Layout, stored_variable


def make_layout(times=2, rows=70, columns=50, block=(32, 40)):
    stored = (
        stored_variable("reflectance", ("time", "band", "y", "x"), (times, 3, rows, columns), "f4"),
        stored_variable("elevation", ("y", "x"), (rows, columns), "f4"),
    )
    return Layout(times=times, rows=rows, columns=columns, block=block, variables=stored)


sizes = st.integers(1, 70)


@given(times=st.integers(1, 3), rows=sizes, columns=sizes, down=sizes, across=sizes)
def test_blocks_cover_every_pixel_of_every_date_once(times, rows, columns, down, across):
    cut = make_layout(times, rows, columns, (down, across))
    for temporal, depth in ((True, times), (False, 1)):
        seen = np.zeros((depth, rows, columns), int)
        for block in cut.blocks(temporal):
            seen[(block.time or 0, *cut.window(block).slices)] += 1
        assert (seen == 1).all()
    keys = [block.key for block in cut.all_blocks()]
    assert len(set(keys)) == len(keys)


@given(length=st.integers(1, 5000), step=st.integers(1, 2048))
def test_shards_hold_whole_chunks_and_one_block(length, step):
    shard, chunk = layout.shard_and_chunk(length, step)
    assert shard % chunk == 0
    assert shard == step or (length <= step and shard >= length)
    assert chunk <= max(layout.INNER, step if step % layout.INNER else 0) or chunk == step


def test_the_usual_block_has_chunks_of_256():
    stored = make_layout(1, 4000, 3000, (1024, 1024)).variables[0]
    cut = make_layout(1, 4000, 3000, (1024, 1024))
    assert cut.shards(stored) == ((1, 3, 1024, 1024), (1, 3, 256, 256))


def test_variables_of_one_byte_have_larger_chunks():
    valid = stored_variable("valid", ("time", "y", "x"), (1, 4000, 3000), "bool")
    cut = Layout(times=1, rows=4000, columns=3000, block=(1024, 1024), variables=(valid,))
    assert cut.shards(valid) == ((1, 1024, 1024), (1, 512, 512))


def test_selection_and_place_follow_the_dims():
    cut = make_layout()
    block = Block(2, 1, time=1)
    reflectance, elevation = cut.variables
    assert cut.selection(reflectance, block) == (
        slice(1, 2),
        slice(None),
        slice(64, 70),
        slice(40, 50),
    )
    assert cut.block_shape(reflectance, block) == (1, 3, 6, 10)
    assert cut.place(reflectance, block) == (1, 0, 2, 1)
    assert cut.place(elevation, Block(2, 1)) == (2, 1)
    assert cut.counts(temporal=False) == (1, 3, 2)


def test_a_layout_without_a_kind_has_no_blocks_of_it():
    cut = Layout(times=0, rows=5, columns=5, block=(5, 5), variables=make_layout().of(False))
    assert cut.blocks(temporal=True) == []
    assert len(cut.all_blocks()) == 1


@given(
    st.lists(
        st.floats(-0.09375, 6.4375, width=32, allow_subnormal=False) | st.just(np.nan),
        min_size=1,
        max_size=30,
    )
)
def test_reflectance_comes_back_within_half_a_step(values):
    stored = stored_variable("reflectance", ("time", "band", "y", "x"), (1, 1, 1, 1), "float32")
    given_values = np.array(values, np.float32).reshape(1, 1, 1, -1)
    codes, clipped = stored.encode(given_values)
    back = stored.decode(codes)
    assert codes.dtype == np.uint16
    assert back.dtype == np.float32
    assert clipped == 0
    assert np.array_equal(np.isnan(back), np.isnan(given_values))
    # half a step of 1e-4 and the rounding of float32 near 6
    assert np.nanmax(np.abs(back - given_values), initial=0) <= 0.5e-4 + 1e-6
    assert np.array_equal(stored.encode(back)[0], codes)


def test_values_beyond_the_codes_are_counted_and_become_the_nearest_end():
    stored = stored_variable("reflectance", ("time", "band", "y", "x"), (1, 1, 1, 4), "float32")
    values = np.float32([-0.2, 0.5, 7.0, np.inf]).reshape(1, 1, 1, 4)
    codes, clipped = stored.encode(values)
    assert clipped == 3
    assert codes.ravel().tolist() == [1, 6000, 65535, 65535]
    assert stored.ends == pytest.approx((-0.0999, 6.4535))


def test_probability_keeps_zero_one_and_nan():
    stored = stored_variable("confidence", ("time", "y", "x"), (1, 1, 3), "float32")
    codes, _ = stored.encode(np.float32([0.0, 1.0, np.nan]).reshape(1, 1, 3))
    assert codes.ravel().tolist() == [0, 250, 255]
    assert stored.decode(codes).ravel()[:2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("name", "dtype", "codes", "blank"),
    [
        ("reflectance", "float32", "uint16", 0),
        ("valid", "bool", "bool", False),
        ("extent", "uint8", "uint8", 255),
        ("valid_fraction", "float32", "uint8", 255),
        ("observations", "int16", "int16", 0),
    ],
)
def test_every_kind_has_its_code_and_its_blank(name, dtype, codes, blank):
    stored = stored_variable(name, ("time", "y", "x"), (1, 2, 2), dtype)
    assert stored.codes == codes
    assert stored.blank == blank
    assert stored.blank.dtype == np.dtype(codes)
    assert stored.is_blank(np.full((1, 2, 2), blank, codes))
    assert not stored.is_blank(np.array([[[blank, 1]]], codes))


def test_floats_that_are_not_scaled_are_stored_as_they_are():
    stored = stored_variable("elevation", ("y", "x"), (1, 2), "float32")
    values = np.float32([[1234.5, np.nan]])
    codes, clipped = stored.encode(values)
    assert np.isnan(stored.blank)
    assert clipped == 0
    assert np.array_equal(stored.decode(codes), values, equal_nan=True)
    assert stored.is_blank(np.full((2, 2), np.nan, np.float32))
    assert stored.ends == (-np.inf, np.inf)
