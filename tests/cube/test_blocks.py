"""Kernels over blocks: halos, names, alignment."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from glaciercube.cube import blocks


@pytest.mark.parametrize("chunks", [((20,), (30,)), ((7, 7, 6), (10, 20)), ((18, 2), (1, 28, 1))])
@pytest.mark.parametrize("halo", [0, 1, 5])
def test_what_is_inside_the_halo_is_the_image_again(chunks, halo):
    image = np.arange(600).reshape(1, 20, 30)
    wide = blocks.with_halo(da.from_array(image, chunks=((1,), *chunks)), halo)
    sizes = blocks.without_halo(wide.chunks, halo)

    def own(block, block_id=None):
        rows, columns = blocks.inner(block_id, wide.numblocks, halo)
        return block[:, rows, columns]

    out = da.map_blocks(own, wide, dtype=int, chunks=((1,), *sizes), meta=np.empty((0, 0, 0)))
    np.testing.assert_array_equal(out, image)


def test_a_block_reaches_the_halo_into_its_neighbours():
    image = da.from_array(np.arange(100).reshape(10, 10), chunks=5)
    wide = blocks.with_halo(image, 2)
    np.testing.assert_array_equal(wide.blocks[0, 0], image[:7, :7])
    np.testing.assert_array_equal(wide.blocks[1, 1], image[3:, 3:])


def test_chunks_smaller_than_the_halo_are_joined():
    wide = blocks.with_halo(da.zeros((10, 9), chunks=(1, 3)), 4)
    assert min(min(sizes) for sizes in blocks.without_halo(wide.chunks, 4)) >= 4
    assert blocks.with_halo(da.zeros((10, 9), chunks=(1, 3)), 50).chunks == ((10,), (9,))


def test_names_follow_from_what_they_hold():
    image = da.from_array(np.zeros((10, 10)), chunks=5, name="image")
    assert blocks.with_halo(image, 2).name == blocks.with_halo(image, 2).name
    assert blocks.with_halo(image, 2).name != blocks.with_halo(image, 1).name


def either(layers, flip):
    return (layers["a"] | layers["b"]) ^ flip


def test_mapped_aligns_chunks_and_mixes_lazy_with_held(no_compute):
    held = xr.DataArray(np.arange(16).reshape(1, 4, 4) % 3 == 0, dims=("time", "y", "x"))
    lazy = held.chunk(y=2)
    with no_compute:
        out = blocks.mapped(either, {"a": held, "b": lazy}, name="e", version=1, flip=True)
    assert out.data.chunks == lazy.data.chunks
    assert out.dtype == bool
    assert out.data.name.startswith("e-")
    np.testing.assert_array_equal(out, ~held)
    plain = blocks.mapped(either, {"a": held, "b": held}, name="e", version=1, flip=True)
    np.testing.assert_array_equal(plain, ~held)


def test_another_version_or_option_has_another_name():
    lazy = xr.DataArray(da.zeros((1, 4, 4), dtype=bool, chunks=2), dims=("time", "y", "x"))

    def name(version, flip):
        arrays = {"a": lazy, "b": lazy}
        return blocks.mapped(either, arrays, name="e", version=version, flip=flip).data.name

    assert name(1, True) == name(1, True)
    assert len({name(1, True), name(2, True), name(1, False)}) == 3
