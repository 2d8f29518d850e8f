"""What a block reads of its dates, and the order of what a network sees of them."""

from dataclasses import replace

import numpy as np
import pytest
from cards import make_card

from glaciercube.infer.dates import name_of
from glaciercube.infer.reads import ChunkReader, Read, StoreReader
from glaciercube.infer.work import Work
from glaciercube.model.reference import ref_of
from glaciercube.store.reading import Source, read, source_of
from glaciercube.store.writing import write
from glaciercube.windows import Window

BANDS = ("green", "red", "nir", "swir16")
WHOLE = Window(0, 6, 0, 5)
EVERYTHING = np.ones(WHOLE.shape, bool)


def work_of(card, chunks, seen=None, **more):
    """Return the work of a small cube; `seen` are the dates that are seen with each."""
    times = tuple(str(date) for date in range(sum(chunks[0])))
    return Work(
        refs=(ref_of(card),),
        bands=BANDS,
        planes=("facies",),
        halo=0,
        stride=1,
        chunks=chunks,
        times=times,
        positions=(0, 1, 2, 3),
        seen={} if seen is None else {name_of(card): seen},
        **more,
    )


@pytest.fixture
def values():
    """Return three dates (date, band, y, x): their numbers tell date and band."""
    date, band = np.mgrid[0:3, 0:4]
    whole = np.broadcast_to((10 * date + band)[..., None, None], (3, 4, 6, 5))
    return whole.astype(np.float32)


@pytest.fixture
def plain(tmp_path):
    """Return a card of three dates that leaves reflectance as it is, and fills with -5."""
    return make_card(tmp_path, mean=(0.0,) * 4, std=(1.0,) * 4, fill=-5.0, dates={"count": 3})


SEEN = ((-1, 0, 1), (0, 1, 2), (1, 2, -1))


def reads_of(values, valid):
    return [
        Read.of(one, measured, WHOLE, date)
        for date, (one, measured) in enumerate(zip(values, valid, strict=True))
    ]


def test_channels_are_date_after_date_each_with_its_mask(values, plain):
    first, second, third = reads_of(values, np.ones((3, 6, 5), bool))
    work = work_of(plain, ((1, 1, 1), (6,), (5,)), SEEN)
    image = replace(second, others={0: first, 2: third}).image(Window(1, 3, 2, 5), work, plain)
    assert image.shape == (15, 2, 3)
    assert image.dtype == np.float32
    expected = [0, 1, 2, 3, 1, 10, 11, 12, 13, 1, 20, 21, 22, 23, 1]
    np.testing.assert_array_equal(image[:, 0, 0], expected)
    assert (image == image[:, :1, :1]).all()


def test_a_padded_date_and_an_unmeasured_pixel_are_filled_and_masked(values, plain):
    valid = np.ones((3, 6, 5), bool)
    valid[1, 0, 0] = False
    _, second, third = reads_of(values, valid)
    work = work_of(plain, ((1, 1, 1), (6,), (5,)), SEEN)
    image = replace(third, others={1: second}).image(WHOLE, work, plain)
    filled = [-5, -5, -5, -5, 0]
    np.testing.assert_array_equal(image[:, 0, 0], [*filled, 20, 21, 22, 23, 1, *filled])
    np.testing.assert_array_equal(image[:5, 0, 1], [10, 11, 12, 13, 1])
    blank = replace(third, others={1: None}).image(WHOLE, work, plain)
    np.testing.assert_array_equal(blank[:5], np.float32(filled)[:, None, None] + 0 * blank[:5])


def test_without_masks_there_are_bands_only(values, plain):
    card = replace(plain, dates={"count": 3, "mask": False})
    first, second, _ = reads_of(values, np.ones((3, 6, 5), bool))
    work = work_of(card, ((1, 1, 1), (6,), (5,)), SEEN)
    image = replace(first, others={1: second}).image(WHOLE, work, card)
    expected = [-5, -5, -5, -5, 0, 1, 2, 3, 10, 11, 12, 13]
    np.testing.assert_array_equal(image[:, 0, 0], expected)


def test_bands_are_normalised_and_taken_by_name_on_each_date(values, plain):
    card = replace(
        plain, bands=("swir16", "green"), mean=(1.0, 0.0), std=(2.0, 1.0), dates={"count": 2}
    )
    first, second, _ = reads_of(values, np.ones((3, 6, 5), bool))
    work = work_of(card, ((1, 1, 1), (6,), (5,)), ((-1, 0), (0, 1), (1, 2)))
    image = replace(second, others={0: first}).image(WHOLE, work, card)
    np.testing.assert_array_equal(image[:, 0, 0], [1, 0, 1, 6, 10, 1])


def test_a_part_is_a_view_of_what_was_read(values):
    read_all = Read.of(values[0], EVERYTHING, WHOLE, date=2)
    part = read_all.cut(Window(2, 4, 1, 5))
    assert (part.window, part.date) == (Window(2, 4, 1, 5), 2)
    assert np.shares_memory(part.values, values)
    assert part.values.shape == (4, 2, 4)
    assert part.measured.shape == (2, 4)


# --- from a store


@pytest.fixture
def cube(lazy_cube, tmp_path):
    """Return a stored cube of three dates, of which the first is not valid in its right half."""
    whole = lazy_cube.compute()
    whole["valid"][0, :, 40:] = False
    write(whole.chunk(time=1, band=-1, y=96, x=80), tmp_path / "cube.zarr")
    return read(tmp_path / "cube.zarr")


@pytest.fixture
def loads(monkeypatch):
    """Return a list that grows by each read: variable, date, window."""
    seen = []
    original = Source.load

    def load(self, time, window):
        seen.append((self.variable, time, window))
        return original(self, time, window)

    monkeypatch.setattr(Source, "load", load)
    return seen


def of_store(cube, card, chunks, seen=SEEN):
    sources = {name: source_of(cube[name]) for name in ("reflectance", "valid")}
    return work_of(card, chunks, seen, **sources)


def test_dates_of_one_block_are_read_once_for_all_of_them(cube, plain, loads):
    work = of_store(cube, plain, ((3,), (96,), (80,)))
    block = Window(0, 96, 0, 80)
    reader = StoreReader(work, block)
    cube["valid"].compute()
    loads.clear()
    wanted = np.zeros(block.shape, bool)
    wanted[50:60, 10:30] = True
    for date in range(3):
        target, found = reader.target(date, wanted)
        assert target == Window(50, 60, 10, 30)
        assert sorted(found.others) == [other for other in SEEN[date] if other not in (date, -1)]
    bands = [(time, window) for variable, time, window in loads if variable == "reflectance"]
    assert sorted(bands, key=str) == [(date, Window(50, 60, 10, 30)) for date in range(3)]


def test_a_date_that_is_not_valid_there_is_none(cube, plain, loads):
    work = of_store(cube, plain, ((1, 1, 1), (96,), (80,)))
    wanted = np.zeros((96, 80), bool)
    wanted[50:60, 50:70] = True
    _, found = StoreReader(work, Window(0, 96, 0, 80)).target(1, wanted)
    assert found.others[0] is None
    assert found.others[2].window == found.window == Window(50, 60, 50, 70)
    assert [time for variable, time, _ in loads if variable == "reflectance"] == [1, 2]


def test_a_block_from_chunks_is_the_block_from_the_store(cube, plain):
    chunks = ((1, 1, 1), (96,), (80,))
    block, wanted = Window(0, 96, 0, 80), np.ones((96, 80), bool)
    work = of_store(cube, plain, chunks)
    names = [str(name) for name in cube["band"].values]
    work = replace(work, positions=tuple(names.index(name) for name in BANDS))
    bands = cube["reflectance"].where(cube["valid"]).sel(band=list(BANDS)).values
    given = dict(enumerate(bands))
    for date in range(3):
        one, stored = StoreReader(work, block).target(date, wanted)
        other, chunked = ChunkReader(replace(work, depth=0), block, given).target(date, wanted)
        assert one == other
        np.testing.assert_array_equal(
            stored.image(one, work, plain), chunked.image(one, work, plain)
        )


def test_nothing_is_given_where_nothing_is_reported(cube, plain):
    work = of_store(cube, plain, ((1, 1, 1), (96,), (80,)))
    block, right = Window(0, 96, 0, 80), np.zeros((96, 80), bool)
    right[:, 45:] = True
    assert StoreReader(work, block).target(0, right) is None
    given = dict(enumerate(cube["reflectance"].where(cube["valid"])[:, :4].values))
    assert ChunkReader(replace(work, depth=0), block, given).target(0, right) is None
