"""Terrain on a grid."""

import math
import shutil
import subprocess
import warnings

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from scipy import ndimage

from acquire.hills import box_at, in_degrees, mountains, sampled, write_dem
from acquire.scenery import SCENES, geobox, make_catalog
from glaciercube import grid, schema
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.elevation import elevation_on
from glaciercube.acquire.relief import TERRAIN, terrain_on
from glaciercube.errors import AcquireError, GlacierCubeWarning, SchemaError

CORNER = (496_000.0, 5_204_000.0)
"""Upper left corner of a file of 8 x 8 km on the central meridian, where true north is up."""


def suns(*positions):
    """Return azimuth and elevation of the sun, a day each."""
    times = np.datetime64("2021-12-20", "ns") + np.arange(len(positions)) * np.timedelta64(1, "D")
    azimuth, elevation = np.array(positions, float).reshape(-1, 2).T
    coords = {"sun_azimuth": ("time", azimuth), "sun_elevation": ("time", elevation)}
    return xr.Dataset(coords={"time": times, **coords})


SUNS = suns((150, 50), (165, 18), (100, 25), (250, 30), (20, -1))


@pytest.fixture(scope="module")
def dem(tmp_path_factory):
    """Return a file of rough terrain, 8 x 8 km in steps of 20 m."""
    path = tmp_path_factory.mktemp("relief") / "dem.tif"
    return write_dem(path, sampled(mountains, CORNER, 20, (400, 400)), CORNER, 20)


@pytest.fixture(scope="module")
def box():
    """Return a grid of 1 x 1.2 km in the middle of it."""
    return box_at(499_500, 5_200_500, 50, 60, 20)


def test_it_is_lazy_and_fits_the_schema(dem, box, no_compute):
    with no_compute:
        out = terrain_on(box, dem, suns=SUNS, chunk=32)
    assert list(out.data_vars) == ["elevation", *TERRAIN]
    schema.check(out, {name: schema.CUBE_MORE[name] for name in out.data_vars}, "terrain")
    assert grid.grid_of(out) == box
    assert out["cast_shadow"].chunks == ((1,) * 5, (32, 18), (32, 28))
    np.testing.assert_array_equal(out["time"], SUNS["time"])
    assert out["slope"].encoding["grid_mapping"] == "spatial_ref"
    done = out.compute()
    assert done["slope"].dtype == done["hillshade"].dtype == np.float32
    assert done["cast_shadow"].dtype == bool
    assert all(np.isfinite(done[name]).all() for name in ("slope", "aspect", "hillshade"))


@pytest.mark.parametrize("chunk", [17, 25, 50])
def test_chunks_change_nothing(dem, box, chunk):
    whole = terrain_on(box, dem, suns=SUNS)
    parts = terrain_on(box, dem, suns=SUNS, chunk=chunk)
    xr.testing.assert_identical(parts.compute(), whole.compute())
    assert 0.05 < float(whole["cast_shadow"][:4].mean()) < 0.95


def test_a_cut_has_what_the_whole_has_there(dem, box):
    whole = terrain_on(box, dem, suns=SUNS).compute()
    cut = terrain_on(box[11:40, 20:51], dem, suns=SUNS, chunk=16).compute()
    part = whole.isel(y=slice(11, 40), x=slice(20, 51))
    xr.testing.assert_equal(cut["cast_shadow"], part["cast_shadow"])
    # The step on the ground is that at the centre, another one by less than a millionth.
    xr.testing.assert_allclose(cut["slope"], part["slope"], atol=1e-3)
    xr.testing.assert_allclose(cut["hillshade"], part["hillshade"], atol=1e-4)


def test_south_up_grids_have_the_same(dem, box):
    upright = terrain_on(box, dem, suns=SUNS).compute()
    flipped = (
        terrain_on(box.flipy(), dem, suns=SUNS, chunk=32).compute().isel(y=slice(None, None, -1))
    )
    assert (flipped["cast_shadow"].values == upright["cast_shadow"].values).all()
    for name in ("elevation", "slope", "hillshade"):
        np.testing.assert_allclose(flipped[name], upright[name], atol=1e-3)
    turn = (flipped["aspect"].values - upright["aspect"].values + 180) % 360 - 180
    assert np.abs(turn).max() < 0.01


def test_slope_aspect_and_hillshade_are_those_of_the_mountains(dem, box):
    out = terrain_on(box, dem, suns=SUNS).compute()
    x, y = np.meshgrid(out["x"], out["y"])
    near = 0.5
    east = (mountains(x + near, y) - mountains(x - near, y)) / (2 * near)
    north = (mountains(x, y + near) - mountains(x, y - near)) / (2 * near)
    # Differences over 40 m flatten waves of 300 m; both differ by a degree or two.
    slope = np.degrees(np.arctan(np.hypot(east, north)))
    assert np.abs(out["slope"] - slope).mean() < 1.5
    aspect = np.degrees(np.arctan2(-east, -north))
    turn = (out["aspect"].values - aspect + 180) % 360 - 180
    assert np.abs(turn[slope > 10]).mean() < 2.0
    normal = np.stack([-east, -north, np.ones_like(east)]) / np.sqrt(1 + east**2 + north**2)
    for number in range(4):
        way, high = (np.radians(float(SUNS[n][number])) for n in ("sun_azimuth", "sun_elevation"))
        sun = np.cos(high) * np.sin(way), np.cos(high) * np.cos(way), np.sin(high)
        light = np.clip(np.tensordot(sun, normal, 1), 0, 1)
        assert np.abs(out["hillshade"][number] - light).mean() < 0.02


def wall(height, along_x=None, along_y=None, width=40.0):
    """Return a plain with a wall along a line of x or y."""

    def heights(x, y):
        place, line = (x, along_x) if along_x is not None else (y, along_y)
        return np.where(np.abs(place - line) < width / 2, 1000.0 + height, 1000.0) + 0 * (x + y)

    return heights


@pytest.mark.parametrize("chunk", [20, 1024])
@pytest.mark.parametrize("elevation", [10.0, 14.0, 30.0])
@pytest.mark.parametrize("azimuth", [0, 90, 180, 270])
def test_a_wall_beyond_the_grid_casts_its_height_over_the_tangent(
    tmp_path, azimuth, elevation, chunk
):
    side = 1 if azimuth in (0, 90) else -1
    at = 500_000 + side * 1500 if azimuth in (90, 270) else 5_200_000 + side * 1500
    line = {"along_x": at} if azimuth in (90, 270) else {"along_y": at}
    corner = (497_000.0, 5_203_000.0)
    path = write_dem(
        tmp_path / "wall.tif", sampled(wall(300, **line), corner, 20, (300, 300)), corner, 20
    )
    box = box_at(499_000, 5_201_000, 100, 100, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GlacierCubeWarning)  # the file ends within the margin
        out = terrain_on(
            box, path, suns=suns((azimuth, elevation)), layers=["cast_shadow"], chunk=chunk
        )
    dim = "x" if azimuth in (90, 270) else "y"
    other = "y" if dim == "x" else "x"
    shadow = out["cast_shadow"][0].isel({other: 50})
    found = np.abs(at - shadow[dim].values[shadow.values])
    length = 300 / math.tan(math.radians(elevation))
    # From the wall's face, which interpolation may set one pixel off, to the shadow's end.
    reach = length + 20
    expected = (np.abs(at - shadow[dim].values) < reach).sum()
    assert abs(len(found) - expected) <= 1
    assert elevation == 30.0 or len(found) > 5


def oracle(heights, part, step, azimuth, elevation):
    """Return where rays sampled every fifth of a pixel between smooth heights are blocked."""
    rows, columns = (index.astype(float)[part] for index in np.indices(heights.shape))
    hidden = np.zeros(rows.shape, bool)
    rise = step / 5 * math.tan(math.radians(elevation))
    for number in range(1, int(np.ptp(heights) / rise) + 2):
        y = rows - number / 5 * math.cos(math.radians(azimuth))
        x = columns + number / 5 * math.sin(math.radians(azimuth))
        ray = ndimage.map_coordinates(heights, [y, x], order=1, cval=-1e9)
        hidden |= ray > heights[part] + number * rise
    return hidden


@pytest.mark.parametrize("number", range(4))
def test_shadow_agrees_with_finer_rays_through_the_whole_file(dem, box, number):
    with rasterio.open(dem) as file:
        heights = file.read(1).astype(float)
    azimuth, elevation = (float(SUNS[n][number]) for n in ("sun_azimuth", "sun_elevation"))
    traced = oracle(heights, np.s_[175:225, 175:235], 20, azimuth, elevation)
    found = terrain_on(box, dem, suns=SUNS, layers=["cast_shadow"])["cast_shadow"][number].values
    assert 0.01 < traced.mean() < 0.99
    # Rays that cross rows and columns see heights between pixels that single steps do not.
    assert (found != traced).mean() < 0.02


@pytest.mark.parametrize(
    ("crs", "step", "longitude", "latitude"),
    [
        ("EPSG:3413", 20.0, -51.0, 69.2),  # West Greenland: grid north is 6 degrees off
        ("EPSG:3413", 20.0, 25.0, 79.5),  # Svalbard: 70 degrees off
        ("EPSG:3857", 40.0, 10.8, 46.8),  # steps are 1.46 times what they are on the ground
        ("EPSG:4326", 2e-4, 86.9, 27.9),  # Khumbu, in degrees
        ("EPSG:4326", 2e-4, 16.0, 78.2),  # Svalbard, in degrees that are five times as high as wide
    ],
)
def test_true_north_and_metres_hold_in_every_crs(tmp_path, crs, step, longitude, latitude):
    local = f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84"
    shape = in_degrees(mountains, local)
    corner = (longitude - 0.5, latitude + 0.12)
    fine = (1e-3, 4e-4) if latitude > 60 else (4e-4, 4e-4)
    columns, rows = int(1 / fine[0]), int(0.24 / fine[1])
    x = corner[0] + (np.arange(columns) + 0.5) * fine[0]
    y = corner[1] - (np.arange(rows) + 0.5) * fine[1]
    path = tmp_path / "dem.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": "EPSG:4326",
               "height": rows, "width": columns, "nodata": -9999,
               "transform": Affine(fine[0], 0, corner[0], 0, -fine[1], corner[1])}  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(shape(x, y[:, np.newaxis]).astype(np.float32), 1)
    centre = Transformer.from_crs(4326, crs, always_xy=True).transform(longitude, latitude)
    low = suns((150, 20), (100, 25), (30, 30))
    here = box_at(centre[0] - 50 * step, centre[1] + 50 * step, 100, 100, step, crs)
    there = box_at(-2500, 2500, 250, 250, 20, local)
    found = terrain_on(here, path, suns=low, chunk=40).compute()
    true = terrain_on(there, path, suns=low).compute()
    px, py = Transformer.from_crs(crs, local, always_xy=True).transform(
        *np.meshgrid(found["x"], found["y"])
    )
    inside = (np.abs(px) < 2450) & (np.abs(py) < 2450)
    row, column = ((2500 - py[inside]) // 20).astype(int), ((px[inside] + 2500) // 20).astype(int)
    assert inside.mean() > 0.3
    shadow = found["cast_shadow"].values[:, inside] == true["cast_shadow"].values[:, row, column]
    assert shadow.mean() > 0.95
    assert 0.1 < true["cast_shadow"].values.mean() < 0.9
    light = found["hillshade"].values[:, inside] - true["hillshade"].values[:, row, column]
    assert np.abs(light).mean() < 0.03
    east = mountains(px + 20, py) - mountains(px - 20, py)
    north = mountains(px, py + 20) - mountains(px, py - 20)
    turn = found["aspect"].values - np.degrees(np.arctan2(-east, -north))
    steep = found["slope"].values > 15
    assert abs(((turn[steep] + 180) % 360 - 180).mean()) < 0.5


def test_polar_night_is_all_shadow_and_no_light(dem, box):
    out = terrain_on(box, dem, suns=suns((180, -5), (10, 0))).compute()
    assert out["cast_shadow"].all()
    assert (out["hillshade"] == 0).all()
    assert out["cast_shadow"].attrs["margin_m"] == 0


def test_voids_are_never_in_shadow_and_spread_by_one_pixel(tmp_path, box):
    heights = sampled(mountains, CORNER, 20, (400, 400))
    heights[190:195, 190:200] = -32768  # its tag says -9999
    path = write_dem(tmp_path / "dem.tif", heights, CORNER, 20)
    out = terrain_on(box, path, suns=suns((165, 10), (165, -10))).compute()
    void = np.zeros((50, 60), bool)
    void[15:20, 15:25] = True
    wider = ndimage.binary_dilation(void, np.ones((3, 3)))
    assert (np.isnan(out["elevation"]) == void).all()
    assert not out["cast_shadow"].values[:, void].any()
    assert out["cast_shadow"].values[1][~void].all()
    for name in ("slope", "aspect"):
        assert (np.isnan(out[name]) == wider).all()
    assert (np.isnan(out["hillshade"]) == wider).all()


def test_a_cap_is_said_with_its_dates_and_holds_in_all_chunks(dem, box):
    low = suns((165, 4), (165, 30))
    with pytest.warns(
        GlacierCubeWarning,
        match=r"followed over 0.5 km, but 2 of 2 dates \(2021-12-20, 2021-12-21\) may need up to "
        r"\d+.\d km.*larger max_margin_m",
    ):
        capped = terrain_on(box, dem, suns=low, layers=["cast_shadow"], max_margin_m=500)
    attrs = capped["cast_shadow"].attrs
    assert attrs["margin_m"] == 500
    assert attrs["margin_needed_m"] > 5_000
    assert attrs["capped"] == ["2021-12-20", "2021-12-21"]
    with pytest.warns(GlacierCubeWarning):
        parts = terrain_on(box, dem, suns=low, layers=["cast_shadow"], max_margin_m=500, chunk=9)
    xr.testing.assert_equal(parts.compute(), capped.compute())
    with pytest.warns(GlacierCubeWarning, match="dem.tif knows nothing of"):
        whole = terrain_on(box, dem, suns=low, layers=["cast_shadow"], chunk=9)
    assert whole["cast_shadow"].attrs["capped"] == []
    assert int(whole["cast_shadow"].sum()) > int(capped["cast_shadow"].sum())


def test_a_raster_that_ends_towards_the_sun_is_told(tmp_path, box):
    heights = sampled(mountains, (499_400.0, 5_200_600.0), 20, (60, 70))
    path = write_dem(tmp_path / "small.tif", heights, (499_400.0, 5_200_600.0), 20)
    with pytest.warns(
        GlacierCubeWarning,
        match=r"needs elevation up to \d.\d km towards the sun, but .*small.tif knows nothing of "
        r"up to \d\d % of it on 1 of 2 dates \(2021-12-20\).*reaches farther",
    ):
        out = terrain_on(box, path, suns=suns((165, 20), (0, -5)), layers=["cast_shadow"])
    assert 0.5 < out["cast_shadow"].attrs["margin_void_fraction"] < 1


def test_names_are_functions_of_what_the_arrays_hold(dem, box):
    def names(**options):
        out = terrain_on(options.pop("box", box), dem, **{"suns": SUNS, **options})
        return {name: out[name].data.name for name in out.data_vars}

    assert names() == names()
    assert len(set(names().values())) == 5
    again = names(suns=suns((150, 50)))
    for name in ("elevation", "slope", "aspect"):
        assert again[name] == names()[name]  # more dates leave these as they are
    for name in ("hillshade", "cast_shadow"):
        assert again[name] != names()[name]
    assert not set(names(box=box.translate_pix(1, 0)).values()) & set(names().values())
    assert names()["elevation"] == elevation_on(box, dem).data.name
    with pytest.warns(GlacierCubeWarning):
        assert names(max_margin_m=300)["cast_shadow"] != names()["cast_shadow"]


def test_only_what_is_asked_for(dem, box):
    assert list(terrain_on(box, dem, layers=["slope"]).data_vars) == ["elevation", "slope"]
    only = terrain_on(box, dem, layers=["hillshade"], suns=SUNS)
    assert list(only.data_vars) == ["elevation", "hillshade"]
    assert "time" not in terrain_on(box, dem, layers=["aspect"], suns=SUNS).coords


def test_a_collection_gives_terrain_too(tmp_path):
    items = search(make_catalog(tmp_path, SCENES[:1]))
    out = terrain_on(geobox(), "cop-dem-glo-30", items=items, suns=SUNS, chunk=32).compute()
    # A plane that rises 10 km a degree of latitude and 5 km a degree of longitude.
    rise = math.hypot(10_000 / 111_140, 5_000 / 78_700)
    np.testing.assert_allclose(out["slope"], math.degrees(math.atan(rise)), atol=0.05)
    assert not out["cast_shadow"][:4].any()


def test_processes_give_the_same(dem, box):
    out = terrain_on(box, dem, suns=SUNS, chunk=30)
    expected = out.compute()
    with dask.config.set(scheduler="processes", num_workers=1):
        xr.testing.assert_identical(out.compute(), expected)


def test_one_task_per_date_and_block_and_little_in_each(dem, box):
    many = suns(*[(150 + n / 10, 40) for n in range(40)])
    out = terrain_on(box, dem, suns=many, layers=["cast_shadow"], chunk=10)
    graph = out["cast_shadow"].data.__dask_graph__()
    own = [key for key in graph if isinstance(key, tuple) and key[0].startswith("cast-shadow")]
    assert len(own) == 40 * 5 * 6
    assert len(graph) < len(own) + 5 * 6 + 40 + 5 + 6 + 10


def test_what_is_missing_is_said(dem, box, tmp_path):
    with pytest.raises(SchemaError, match=r"layers \['slope', .*found \['slop'\]"):
        terrain_on(box, dem, layers=["slop"])
    with pytest.raises(SchemaError, match=r"found 'slope'"):
        terrain_on(box, dem, layers="slope")
    with pytest.raises(SchemaError, match=r"hillshade and cast_shadow need .*\['sun_azimuth', "):
        terrain_on(box, dem)
    with pytest.raises(SchemaError, match=r"\['sun_elevation'\] are missing"):
        terrain_on(box, dem, suns=SUNS.drop_vars("sun_elevation"))
    with pytest.raises(SchemaError, match=r"not known of \['2021-12-21'\]"):
        terrain_on(box, dem, suns=suns((150, 50), (150, math.nan)))
    with pytest.raises(SchemaError, match="max_margin_m is a length such as 30000 m, found -1"):
        terrain_on(box, dem, suns=SUNS, max_margin_m=-1)
    write_dem(tmp_path / "void.tif", np.full((400, 400), -32768, np.int16), CORNER, 20, nodata=None)
    with pytest.raises(AcquireError, match=r"void.tif' must have heights over EPSG.*only voids"):
        terrain_on(box, tmp_path / "void.tif", suns=SUNS)


@pytest.mark.skipif(
    shutil.which("gdaldem") is None, reason="gdaldem (GDAL's tools) is not installed"
)
@pytest.mark.parametrize("layer", ["slope", "aspect", "hillshade"])
def test_it_is_what_gdal_gives(tmp_path, dem, box, layer):
    out = terrain_on(box, dem, suns=suns((150, 40)), chunk=32).compute()
    wide = elevation_on(box.pad(1), dem).values
    corner = (box.affine.c - 20, box.affine.f + 20)
    path = write_dem(tmp_path / "wide.tif", wide, corner, 20)
    more = ["-az", "150", "-alt", "40"] if layer == "hillshade" else []
    subprocess.run(
        ["gdaldem", layer, path, tmp_path / "out.tif", *more], check=True, capture_output=True
    )
    with rasterio.open(tmp_path / "out.tif") as file:
        theirs = file.read(1)[1:-1, 1:-1].astype(float)
    ours = out[layer].values.squeeze()
    if layer == "hillshade":
        # GDAL gives 1 + 254 x cosine in whole numbers.
        np.testing.assert_allclose(1 + 254 * ours, theirs, atol=0.6)
        return
    # On the ground 20 m of the grid are 20.008 m: the scale of UTM is 0.9996.
    turn = (ours - theirs + 180) % 360 - 180
    assert np.abs(turn).max() < 0.03


def test_a_published_slope_is_ours(real_data):
    folder = real_data("hugonnet-dems") / "grosser-aletsch"
    with rasterio.open(folder / "cop30_slope.tif") as file:
        theirs = file.read(1)
        whole = GeoBox(file.shape, file.transform, str(file.crs))
    with rasterio.open(folder / "cop30_aspect.tif") as file:
        direction = file.read(1)
    out = terrain_on(whole, folder / "cop30_elevation.tif", layers=["slope", "aspect"], chunk=64)
    inner = np.s_[1:-1, 1:-1]  # they have none at the border
    slope = out["slope"].values[inner]
    # They take a step of the grid for its length on the ground, 0.03 % less.
    np.testing.assert_allclose(slope, theirs[inner], atol=0.02)
    steep = slope > 5
    turn = (out["aspect"].values[inner] - direction[inner] + 180) % 360 - 180
    # and the grid's north for true north.
    np.testing.assert_allclose(turn[steep], -0.72, atol=0.02)


def test_winter_at_hintereisferner(real_data):
    path = real_data("oggm-glaciers") / "srtm_oetztal.tif"
    area = (10.72, 46.78, 10.83, 46.83)
    out = terrain_on(grid.grid_around(area, 30), path, suns=suns((165, 18), (150, 55)), chunk=128)
    out = out.compute()
    winter, summer = out["cast_shadow"].mean(("y", "x")).values
    assert 0.2 < winter < 0.6
    assert summer < 0.03
    north = ((out["aspect"] > 315) | (out["aspect"] < 45)) & (out["slope"] > 25)
    south = (out["aspect"] > 135) & (out["aspect"] < 225) & (out["slope"] > 25)
    shadow = out["cast_shadow"][0]
    assert float(shadow.where(north).mean()) > 0.8
    assert float(shadow.where(south).mean()) < 0.2
    assert 2000 < float(out["elevation"].min()) < float(out["elevation"].max()) < 3800
    assert float(out["slope"].median()) == pytest.approx(23, abs=6)


def test_a_real_dem_that_is_mostly_void(real_data):
    path = real_data("liligo-facies") / "srtm_dem_30m.tif"
    with rasterio.open(path) as file:
        whole = GeoBox(file.shape, file.transform, str(file.crs))
    with pytest.warns(GlacierCubeWarning, match="srtm_dem_30m.tif knows nothing of"):
        out = terrain_on(whole, path, suns=suns((160, 30)), chunk=200).compute()
    void = np.isnan(out["elevation"].values)
    assert 0.5 < void.mean() < 0.9  # a glacier's outline cut out of its box
    assert not out["cast_shadow"].values[0][void].any()
    assert 10 < float(out["slope"].median()) < 30
