import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.acquire.files import from_files
from glaciercube.cube.ranking import rank_scenes, reason_of
from glaciercube.errors import SchemaError

DATES = ("2021-06-20", "2021-07-20", "2021-08-20", "2021-09-10", "2022-08-25")
SNOW, ROCK = (0.8, 0.7, 0.1), (0.2, 0.25, 0.3)
"""Green, nir and swir16."""

GLACIER = shapely.box(600_300, 5_000_300, 600_500, 5_000_700)
"""20 columns and 40 rows in the middle."""


@pytest.fixture
def glaciers():
    return gpd.GeoDataFrame({"rgi_id": ["a"]}, geometry=[GLACIER], crs="EPSG:32632")


@pytest.fixture
def cube(geobox):
    """Return five dates: ground under snow down to row 72, 48, 24, 0 and 0, the glacier always.

    A quarter of the glacier lies under cloud on the fourth, half of it outside the swath on
    the second date.
    """
    rows, columns = geobox.shape
    row = np.broadcast_to(np.arange(rows)[:, None], (rows, columns))
    glacier = np.zeros((rows, columns), bool)
    glacier[26:66, 30:50] = True
    snow = np.stack([glacier | (row < edge) for edge in (72, 48, 24, 0, 0)])
    spectra = [np.where(snow, bright, dark) for bright, dark in zip(SNOW, ROCK, strict=True)]
    reflectance = np.stack(spectra, axis=1).astype(np.float32)
    valid = np.ones(snow.shape, bool)
    valid[1, 26:46, 30:50] = False
    cloud = np.zeros(snow.shape, bool)
    cloud[3, 26:36, 30:50] = True
    one = {"units": "1"}
    out = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), reflectance, one),
            "valid": (schema.TIME_DIMS, valid, dict(one)),
            "cloud": (schema.TIME_DIMS, cloud, dict(one)),
        },
        coords={
            "time": pd.to_datetime(list(DATES)).as_unit("ns"),
            "band": ["green", "nir", "swir16"],
        },
        attrs={"sensor": "sentinel-2-l2a", "level": "surface"},
    )
    return grid.georeferenced(out, geobox)


def test_contract(cube, glaciers):
    table = rank_scenes(cube, glaciers)
    assert table["acquisition"].values.tolist() == cube["time"].values.tolist()
    assert table["glacier_year"].values.tolist() == [2021] * 4 + [2022]
    assert table["rank"].dtype == np.int16
    for name in ("snow_off_glacier", "off_glacier_observed", "cloud", "coverage", "score"):
        assert table[name].dtype == np.float64
        assert table[name].attrs["units"] == "1"
        assert table[name].chunks is None
    assert table.attrs["ring_m"] == 2000
    assert table.attrs["year_start"] == "10-01"


def test_shares_are_those_that_are_there(cube, glaciers):
    table = rank_scenes(cube, glaciers)
    around = 96 * 80 - 800
    snow = [around - 24 * 80, 48 * 80 - 22 * 20, 24 * 80, 0, 0]
    # All of the first three glacier rows that the snow's edge cuts lie above it.
    snow[0] = 72 * 80 - 800
    np.testing.assert_allclose(table["snow_off_glacier"], np.array(snow) / around)
    np.testing.assert_allclose(table["coverage"], [1, 0.5, 1, 1, 1])
    np.testing.assert_allclose(table["cloud"], [0, 0, 0, 0.25, 0])
    np.testing.assert_allclose(table["off_glacier_observed"], 1)
    hidden = np.array([0, 0.5, 0, 0.25, 0])
    np.testing.assert_allclose(table["score"], np.array(snow) / around + 0.5 * hidden)


def test_ranks_and_reasons(cube, glaciers):
    table = rank_scenes(cube, glaciers)
    assert table["rank"].values.tolist() == [3, 4, 2, 1, 1]
    assert table["reason"].values[3] == (
        "rank 1 of 4: 0 % snow off glacier, 25 % cloud, 100 % covered"
    )
    assert table["reason"].values[1].endswith("0 % cloud, 50 % covered")
    assert table["reason"].values[4].startswith("rank 1 of 1")


def test_only_the_ring_counts(cube, glaciers):
    # The lowest rows, out of a ring of 100 m, are new snow on the fourth date.
    cube["reflectance"].values[3][:, 80:] = np.float32(SNOW)[:, None, None]
    near = rank_scenes(cube, glaciers, ring_m=100.0)
    assert near["snow_off_glacier"].values[3] == 0
    far = rank_scenes(cube, glaciers)
    assert far["snow_off_glacier"].values[3] > 0.1


def test_new_snow_puts_a_scene_last(cube, glaciers):
    cube["reflectance"].values[3] = np.float32(SNOW)[:, None, None]
    assert rank_scenes(cube, glaciers)["rank"].values[3] == 4


def test_of_equal_scenes_the_later_is_first(cube, glaciers):
    cube["reflectance"].values[:4] = cube["reflectance"].values[4]
    cube["valid"].values[:] = True
    cube["cloud"].values[:] = False
    assert rank_scenes(cube, glaciers)["rank"].values.tolist() == [4, 3, 2, 1, 1]


def test_snow_that_nobody_sees_is_unknown(cube, glaciers):
    outside = np.ones(cube["valid"].shape[1:], bool)
    outside[26:66, 30:50] = False
    cube["cloud"].values[3][outside] = True
    table = rank_scenes(cube, glaciers)
    assert np.isnan(table["snow_off_glacier"].values[3])
    assert table["score"].values[3] == pytest.approx(1 + 0.5 * 0.25)
    assert "snow off glacier unknown (0 % of the surroundings clear)" in table["reason"].values[3]


def test_a_glacier_out_of_the_swath(cube, glaciers):
    cube["valid"].values[2, 26:66, 30:50] = False
    table = rank_scenes(cube, glaciers)
    assert table["coverage"].values[2] == 0
    assert np.isnan(table["cloud"].values[2])
    assert "nothing to see, 0 % covered" in table["reason"].values[2]


def test_without_outlines_the_scene_takes_their_part(cube):
    table = rank_scenes(cube)
    assert table["rank"].values.tolist() == [4, 3, 2, 1, 1]
    assert table["snow_off_glacier"].values[4] == pytest.approx(800 / (96 * 80))
    assert table["coverage"].values[1] == pytest.approx(1 - 400 / (96 * 80))


@pytest.mark.parametrize("chunks", [{"time": 1, "y": 32, "x": 40}, {"time": 3, "band": 1, "y": 17}])
def test_chunks_and_order_do_not_matter(cube, glaciers, chunks):
    expected = rank_scenes(cube, glaciers)
    xr.testing.assert_identical(rank_scenes(cube.chunk(chunks), glaciers), expected)
    shuffled = cube.chunk(chunks).isel(time=[3, 0, 4, 2, 1])
    xr.testing.assert_identical(rank_scenes(shuffled, glaciers), expected)


def test_bands_are_found_by_name(cube, glaciers):
    other = cube.isel(band=[2, 0, 1]).assign_coords(band=["swir16", "green", "nir08"])
    xr.testing.assert_identical(rank_scenes(other, glaciers), rank_scenes(cube, glaciers))


def test_only_blocks_near_glaciers_are_read(cube, glaciers):
    lazy = cube.chunk(time=1, y=16, x=16)
    made = []

    def note(block, block_id=None):
        made.append(block_id[2:])
        return block

    data = lazy["reflectance"].data
    noted = data.map_blocks(note, dtype=data.dtype, meta=data._meta)
    lazy["reflectance"] = lazy["reflectance"].copy(data=noted)
    rank_scenes(lazy, glaciers, ring_m=50.0)
    assert set(made) == {(row, column) for row in range(1, 5) for column in range(1, 4)}
    assert len(made) == 5 * 12


def test_outlines_in_degrees_and_a_grid_in_degrees(glaciers):
    box = GeoBox.from_bbox((86.78, 27.94, 86.82, 27.98), "EPSG:4326", resolution=0.0005)
    shape = (1, *box.shape)
    reflectance = np.broadcast_to(np.float32(ROCK)[None, :, None, None], (1, 3, *box.shape))
    cube = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), reflectance.copy(), {"units": "1"}),
            "valid": (schema.TIME_DIMS, np.ones(shape, bool), {"units": "1"}),
        },
        coords={"time": pd.DatetimeIndex(["2024-10-30"]), "band": ["green", "nir", "swir16"]},
    )
    cube = grid.georeferenced(cube, box)
    outline = gpd.GeoSeries([shapely.box(86.795, 27.955, 86.805, 27.965)], crs="EPSG:4326")
    cube["reflectance"].values[0, :, 24:29] = np.float32(SNOW)[:, None, None]
    # Rows 24 to 28 lie 50 to 330 m north of the outline.
    table = rank_scenes(cube, outline, ring_m=500.0, clear="measured")
    assert 0.1 < table["snow_off_glacier"].item() < 0.4
    assert rank_scenes(cube, outline, ring_m=30.0, clear="measured")["score"].item() < 0.02


def test_a_reason_in_words():
    row = {"snow_off_glacier": 0.126, "off_glacier_observed": 1, "cloud": 0.0, "coverage": 0.504}
    assert reason_of(row, 2, 3) == "rank 2 of 3: 13 % snow off glacier, 0 % cloud, 50 % covered"


def test_missing_bands(cube):
    with pytest.raises(
        SchemaError, match=r"lacks \['nir or nir08'\]; it has \['green', 'swir16'\]"
    ):
        rank_scenes(cube.isel(band=[0, 2]))


def test_no_dates(cube):
    with pytest.raises(SchemaError, match="rank_scenes needs at least one date"):
        rank_scenes(cube.isel(time=slice(0, 0)))


def test_no_mask_of_the_measured(cube):
    with pytest.raises(SchemaError, match="'valid' is missing"):
        rank_scenes(cube[["reflectance"]])


def test_glaciers_elsewhere(cube, glaciers):
    away = glaciers.set_geometry(glaciers.geometry.translate(50_000, 0))
    with pytest.raises(SchemaError, match="they lie outside of EPSG:32632, 10 x 10"):
        rank_scenes(cube, away)


def test_glaciers_beside_the_grid(cube, glaciers):
    beside = glaciers.set_geometry(glaciers.geometry.translate(700, 0))
    with pytest.raises(SchemaError, match="their outlines hold no pixel of EPSG:32632"):
        rank_scenes(cube, beside)


def test_real_seasons_of_khumbu(real_data):
    folder = real_data("khumbu-s2")
    paths = [folder / "s2_winter_2024.tif", folder / "s2_autumn_2024.tif"]
    cube = from_files(paths, "sentinel-2-l2a", dates=["2024-01-15", "2024-10-30"])
    outlines = gpd.read_file(folder / "rgi60_clip.gpkg")
    table = rank_scenes(cube, outlines, clear="measured", year_start="01-01", ring_m=1000.0)
    assert (table["coverage"] > 0.99).all()
    assert ((table["snow_off_glacier"] > 0) & (table["snow_off_glacier"] < 0.5)).all()
    # Counted another way: all at once, the ring by rasterio.
    flat = outlines.to_crs("EPSG:32645")
    ring = flat.buffer(1000).to_crs("EPSG:4326")
    box = grid.grid_of(cube)

    def burnt(shapes, **options):
        return rasterio.features.geometry_mask(
            shapes, box.shape, box.affine, invert=True, **options
        )

    around = burnt(ring) & ~burnt(outlines.geometry, all_touched=True)
    green, nir, swir16 = (
        cube["reflectance"].sel(band=b).values for b in ("green", "nir", "swir16")
    )
    snow = ((green - swir16) / (green + swir16) > 0.4) & (nir > 0.11)
    expected = snow[:, around].mean(axis=1)
    np.testing.assert_allclose(table["snow_off_glacier"], expected, atol=1e-3)
