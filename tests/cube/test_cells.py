import geopandas as gpd
import numpy as np
import pytest
import shapely

from glaciercube.cube.cells import piece_shape, pieces_of
from glaciercube.store.reading import read, source_of
from glaciercube.store.writing import write
from glaciercube.windows import Window


@pytest.mark.parametrize("block", [(1024, 1024), (96, 80), (7, 300), (1, 1)])
@pytest.mark.parametrize("pixels", [1, 79, 1000, 250_000, 10**9])
def test_a_piece_has_no_more_pixels_than_allowed(block, pixels):
    rows, columns = piece_shape(block, pixels)
    assert 1 <= rows * columns <= max(1, pixels)
    assert rows <= block[0]
    assert columns == block[1] or rows == 1


@pytest.fixture
def source(cube, tmp_path):
    """Return the source of reflectance in a store with chunks of 24 x 20 in blocks of 48 x 40."""
    write(cube.chunk(time=1, y=48, x=40), tmp_path / "cube.zarr")
    return source_of(read(tmp_path / "cube.zarr")["reflectance"])


def inner_of(source):
    return source.layout.shards(source.layout.stored("reflectance"))[1][-2:]


@pytest.mark.parametrize("pixels", [1, 300, 480, 960, 1500, 10**6])
@pytest.mark.parametrize("window", [Window(0, 48, 40, 80), Window(5, 48, 3, 40)])
def test_pieces_cover_a_window_once(source, pixels, window):
    seen = np.zeros((96, 80), int)
    for piece in pieces_of(window, source, pixels):
        seen[piece.slices] += 1
        assert piece.shape[0] * piece.shape[1] <= pixels
    assert (seen[window.slices] == 1).all()
    assert seen.sum() == window.shape[0] * window.shape[1]


def test_pieces_follow_the_chunks_of_the_store(cube, tmp_path):
    write(cube.chunk(time=1, y=-1, x=-1), tmp_path / "cube.zarr")
    whole = read(tmp_path / "cube.zarr")
    inner = inner_of(source_of(whole["reflectance"]))
    assert inner == (96, 80)
    big = cube.isel(band=slice(0, 2)).pad(y=(0, 504), x=(0, 520), mode="edge")
    y = cube["y"].values[0] - 10.0 * np.arange(600)
    x = cube["x"].values[0] + 10.0 * np.arange(600)
    big = big.assign_coords(y=y, x=x).chunk(time=1, y=-1, x=-1)
    write(big, tmp_path / "big.zarr")
    box = shapely.box(600_300, 4_995_200, 605_000, 5_000_500)
    area = gpd.GeoSeries([box], crs="EPSG:32632")
    cut = read(tmp_path / "big.zarr", area=area)
    source = source_of(cut["reflectance"])
    assert inner_of(source) == (256, 256)
    y0, x0 = source.window.y0, source.window.x0
    assert y0
    rows, columns = cut.sizes["y"], cut.sizes["x"]
    for piece in pieces_of(Window(0, rows, 0, columns), source, 70_000):
        assert piece.y0 == 0 or (piece.y0 + y0) % 256 == 0
        assert piece.x0 == 0 or (piece.x0 + x0) % 256 == 0
        assert piece.y1 == rows or (piece.y1 + y0) % 256 == 0


def test_no_inner_chunk_is_read_twice_if_one_fits(source):
    tall, wide = inner_of(source)
    touched = []
    for piece in pieces_of(Window(0, 48, 0, 40), source, tall * wide):
        rows = range(piece.y0 // tall, -(-piece.y1 // tall))
        columns = range(piece.x0 // wide, -(-piece.x1 // wide))
        touched += [(row, column) for row in rows for column in columns]
    assert len(touched) == len(set(touched))
