"""A user's own GeoTIFFs to a cube."""

import json
import pickle
import subprocess
import sys
import warnings

import dask
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from glaciercube import grid, schema
from glaciercube.acquire.files import from_files
from glaciercube.errors import AcquireError, GlacierCubeWarning, GridError, SchemaError, SensorError

NAMES = ("B3", "B8", "B11", "B12", "QA60")


@pytest.fixture
def write(tmp_path):
    """Return a function that writes numbers (band, y, x) as one file."""

    def write_file(name, numbers, names=NAMES, west=600_000, nodata=None):
        path = tmp_path / name
        profile = {
            "driver": "GTiff", "count": len(numbers), "dtype": numbers.dtype, "nodata": nodata,
            "height": numbers.shape[1], "width": numbers.shape[2], "crs": "EPSG:32632",
            "transform": from_origin(west, 5_000_000, 10, 10),
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            file.write(numbers)
            file.descriptions = names
        return path

    return write_file


def scene(seed, shift=0, shape=(50, 70)):
    """Return digital numbers of four bands, a corner not measured, and clouds in QA60."""
    generator = np.random.default_rng(seed)
    numbers = generator.integers(50, 9000, (5, *shape)).astype(np.uint16) + shift
    numbers[4] = 0
    numbers[4, :10, -10:] = 1024
    numbers[:4, -5:, :8] = 0
    return numbers.astype(np.uint16)


@pytest.fixture
def paths(write):
    """Return three files in another order than time: 2021 and 2023 unshifted, 2022 shifted."""
    return [
        write("s2_20230801.tif", scene(2)),
        write("s2_20210801.tif", scene(0)),
        write("s2_20220801.tif", scene(1, shift=1000)),
    ]


def load(paths, check="trust-pixels", **more):
    return from_files(paths, "sentinel-2-l1c", check=check, **more)


def test_numbers_are_what_the_files_hold(paths):
    cube = load(paths, chunk=32).compute()
    schema.check(cube, schema.CUBE, "the cube")
    assert [str(t)[:10] for t in cube["time"].values] == ["2021-08-01", "2022-08-01", "2023-08-01"]
    assert cube["band"].values.tolist() == ["green", "nir", "swir16", "swir22"]
    for index, (seed, shift) in enumerate([(0, 0), (1, 1000), (2, 0)]):
        numbers = scene(seed, shift)
        expected = (numbers[:4].astype(np.float64) - shift) * 1e-4
        expected[:, -5:, :8] = np.nan
        np.testing.assert_allclose(cube["reflectance"][index], expected, atol=1e-6)
        np.testing.assert_array_equal(cube["valid"][index], np.isfinite(expected[0]))
        np.testing.assert_array_equal(cube["cloud"][index], numbers[4] == 1024)


def test_chunks_do_not_change_the_numbers(paths):
    whole = load(paths)
    assert whole["reflectance"].chunks == ((1, 1, 1), (4,), (50,), (70,))
    for chunk in (7, 32, 50):
        part = load(paths, chunk=chunk)
        assert max(part["valid"].chunks[2]) == chunk
        np.testing.assert_array_equal(part["reflectance"], whole["reflectance"])


def test_nothing_is_computed_while_building(paths, no_compute):
    with no_compute:
        cube = load(paths, check=False)
    assert all(dask.is_dask_collection(variable.data) for variable in cube.data_vars.values())


def test_without_a_check_no_pixel_is_read(paths, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a pixel was read")

    monkeypatch.setattr("glaciercube.acquire.offsets.overview", refuse)
    monkeypatch.setattr("glaciercube.acquire.files.read_block", refuse)
    assert json.loads(load(paths, check=False).attrs["provenance"])[1]["offset_used"] == 0
    with pytest.raises(AssertionError, match="a pixel was read"):
        load(paths, check="warn")


def test_the_order_of_the_files_does_not_matter(paths):
    first, second = load(paths), load(paths[::-1])
    for name in first.data_vars:
        assert first[name].data.name == second[name].data.name
    assert first.attrs == second.attrs


NAME_OF = """
import sys
from glaciercube.acquire.files import from_files
print(from_files(sys.argv[1:], "sentinel-2-l1c", check=False)["reflectance"].data.name)
"""


def test_names_are_the_same_in_another_process(paths):
    command = [sys.executable, "-c", NAME_OF, *map(str, paths)]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert other == load(paths, check=False)["reflectance"].data.name


def test_names_change_with_the_files_the_offset_and_the_chunks(paths, write):
    def name(**options):
        return load(paths, **options)["reflectance"].data.name

    before = name()
    assert name(check="trust-metadata") != before
    assert name(chunk=32) != before
    assert name(bands=["green", "nir"]) != before
    write("s2_20230801.tif", scene(3))
    assert name() != before


def test_one_read_per_block_and_a_small_graph(paths):
    cube = load(paths, chunk=32)
    blocks = 3 * 2 * 3
    tasks = dict(cube.__dask_graph__())
    reads = [key for key in tasks if isinstance(key, tuple) and str(key[0]).startswith("files-")]
    assert len(reads) == blocks
    assert len(tasks) <= blocks * 4 + 3 + 5 + 3  # reads, three variables; dates, rows, columns
    assert len(pickle.dumps(tasks)) < 2000 * blocks


def test_processes_give_the_same(paths):
    cube = load(paths, chunk=50)
    one = cube["valid"].compute(scheduler="processes", num_workers=1)
    np.testing.assert_array_equal(one, cube["valid"])


def test_bands_may_be_chosen_in_any_order(paths):
    cube = load(paths, bands=["swir16", "green"])
    assert cube["band"].values.tolist() == ["swir16", "green"]
    np.testing.assert_array_equal(
        cube["reflectance"].sel(band="green"), load(paths)["reflectance"].sel(band="green")
    )


def test_a_single_path_is_a_cube_of_one_date(paths):
    assert load(paths[0]).sizes["time"] == 1


def test_given_dates_are_in_the_order_of_the_files(paths):
    cube = load(paths, dates=["2003-08-01", "2001-08-01", "2002-08-01"])
    np.testing.assert_array_equal(cube["reflectance"], load(paths)["reflectance"])
    assert cube["time"].dt.year.values.tolist() == [2001, 2002, 2003]


def test_the_files_own_nodata_is_not_measured(write):
    numbers = scene(0)
    numbers[:4, 0, 0] = 65_535
    cube = load(write("a_20200101.tif", numbers, nodata=65_535))
    assert not cube["valid"][0, 0, 0]
    assert not cube["valid"][0, -1, 0]


def test_reflectance_is_taken_as_it_is(write):
    values = np.random.default_rng(0).uniform(0, 1.9, (4, 30, 30)).astype(np.float32)
    values[0, 0, 0], values[1, 0, 1] = np.nan, -np.inf
    cube = from_files(write("a_20200101.tif", values, NAMES[:4]), "sentinel-2-l2a")
    expected = values.copy()
    expected[:, 0, :2] = np.nan
    np.testing.assert_array_equal(cube["reflectance"][0], expected)
    (entry,) = json.loads(cube.attrs["provenance"])
    assert entry["sources"][0]["conversion"] == "none"
    assert entry["offset_used"] == 0


def test_digital_numbers_in_floats_are_refused(write):
    path = write("a_20200101.tif", scene(0).astype(np.float32))
    with pytest.raises(SensorError, match="a_20200101.tif reaches 8[0-9]{3} in 'green'.*uint16"):
        load(path)


def test_reflectance_without_a_measured_pixel_is_refused(write):
    path = write("a_20200101.tif", np.full((4, 9, 9), np.nan, np.float32), NAMES[:4])
    with pytest.raises(AcquireError, match=r"a_20200101.tif is nodata everywhere in \['green'\]"):
        load(path)


def test_a_date_without_a_measured_pixel_is_refused(paths, write):
    empty = write("s2_20240801.tif", np.zeros((5, 50, 70), np.uint16))
    with pytest.raises(AcquireError, match=r"s2_20240801.tif \(2024-08-01\) is nodata everywhere"):
        load([*paths, empty])


def test_both_grids_are_shown(paths, write):
    other = write("s2_20240801.tif", scene(3), west=600_010)
    with pytest.raises(
        GridError, match=r"s2_20210801.tif and s2_20240801.tif.*\(600000, .*\(600010,"
    ):
        load([*paths, other])


def test_both_kinds_are_shown(paths, write):
    other = write("s2_20240801.tif", scene(3).astype(np.float32))
    with pytest.raises(SensorError, match=r"'s2_20240801.tif': 'reflectance'"):
        load([*paths, other])


def test_lacking_bands_are_listed_by_file(paths, write):
    other = write("s2_20240801.tif", scene(3)[[0, 1]], ("B3", "B8"))
    with pytest.raises(SensorError, match=r"s2_20240801.tif lacks \['swir16', 'swir22'\]"):
        load([*paths, other])
    assert load([*paths, other], bands=["green", "nir"]).sizes["time"] == 4


def test_an_unknown_band_sensor_or_check(paths):
    with pytest.raises(SensorError, match="has no band 'infrared'"):
        load(paths, bands=["infrared"])
    with pytest.raises(SensorError, match="unknown sensor 'sentinel-9'"):
        from_files(paths, "sentinel-9")
    with pytest.raises(SensorError, match="found 'maybe'"):
        load(paths, check="maybe")


def test_no_file_at_all():
    with pytest.raises(AcquireError, match="at least one file, found an empty list"):
        load([])


def test_without_a_quality_layer_in_all_files_there_are_no_flags(paths, write):
    other = write("s2_20240801.tif", scene(3)[:4], NAMES[:4])
    assert "cloud" in load(paths)
    assert "cloud" not in load([*paths, other])


@pytest.mark.parametrize("chunk", [0, -1, 10.5, None])
def test_a_chunk_is_a_number_of_pixels(paths, chunk):
    with pytest.raises(
        SchemaError, match=f"chunk is a number of pixels such as 1024, found {chunk}"
    ):
        load(paths, chunk=chunk)


def test_a_file_that_was_moved_is_named_when_it_is_read(paths):
    cube = load(paths, chunk=32)
    paths[2].unlink()
    with pytest.raises(AcquireError, match=r"s2_20220801.tif at y 32-50, x 64-70: .*was it moved"):
        cube["valid"][1, 40, 65].compute()


# Real scenes


@pytest.fixture
def vinciguerra(real_data):
    """Return five summers of a glacier; the last two carry a shift that nothing declares."""
    return sorted(real_data("vinciguerra-s2").glob("vinciguerra_s2_l1c_*.tif"))


def offsets(cube):
    return [entry["offset_used"] for entry in json.loads(cube.attrs["provenance"])]


def test_the_undeclared_shift_of_real_scenes_is_found_and_said(vinciguerra):
    with pytest.warns(GlacierCubeWarning, match=r"2 of 5 .*2022-01-01 .*2023-01-01 ") as caught:
        cube = load(vinciguerra, check="warn")
    assert len(caught) == 1
    assert offsets(cube) == [0, 0, 0, -1000, -1000]
    sources = [entry["sources"][0] for entry in json.loads(cube.attrs["provenance"])]
    assert {source["offset_declared"] for source in sources} == {None}
    assert cube.sizes == {"time": 5, "band": 10, "y": 155, "x": 148}
    assert set(cube.data_vars) == {"reflectance", "valid", "cloud"}
    assert grid.grid_of(cube).crs.to_epsg() == 32719
    assert {entry["precision"] for entry in json.loads(cube.attrs["provenance"])} == {"year"}


def test_reflectance_of_real_scenes_is_physical(vinciguerra):
    cube = load(vinciguerra).compute()
    for index in range(5):
        values = cube["reflectance"][index]
        assert 0 < float(values.min()) < 0.02
        assert 0.7 < float(values.max()) < 1.2
    assert 0.97 < float(cube["valid"].mean()) < 1
    # Snow and ice have about the same green reflectance every summer once offsets are right.
    bright = cube["reflectance"].sel(band="green").quantile(0.99, dim=("y", "x"))
    assert float(bright.max() - bright.min()) < 0.25


def test_metadata_or_an_error_may_be_chosen(vinciguerra):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GlacierCubeWarning)
        assert offsets(load(vinciguerra, check="trust-metadata")) == [0] * 5
        assert offsets(load(vinciguerra, check=False)) == [0] * 5
    with pytest.raises(SensorError, match=r"2022-01-01 \(declared None, pixels -1000, darkest 10"):
        load(vinciguerra, check="raise")


def test_each_year_alone_is_judged_the_same(vinciguerra):
    assert [offsets(load(path)) for path in vinciguerra] == [[0], [0], [0], [-1000], [-1000]]


def test_real_reflectance_in_floats_on_a_geographic_grid(real_data):
    paths = [real_data("khumbu-s2") / f"s2_{season}_2024.tif" for season in ("winter", "autumn")]
    with pytest.raises(AcquireError, match="s2_winter_2024.tif and s2_autumn_2024.tif are both"):
        from_files(paths, "sentinel-2-l2a")
    cube = from_files(paths, "sentinel-2-l2a", dates=["2024-01-15", "2024-10-15"])
    assert cube["band"].values.tolist() == ["blue", "green", "red", "nir", "swir16", "swir22"]
    assert float(cube["reflectance"].max()) == pytest.approx(1.7873, abs=1e-4)
    assert grid.grid_of(cube).crs.geographic


def test_a_radar_scene_is_no_sentinel_2(real_data):
    path = real_data("khumbu-s2") / "s1_winter_2024.tif"
    with pytest.raises(SensorError, match=r"it has \['VV_norm', 'VH_norm'\]"):
        from_files(path, "sentinel-2-l2a")
