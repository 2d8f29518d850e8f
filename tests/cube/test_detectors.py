"""Masks by a function of one's own."""

import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import dask
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from glaciercube.cube import detectors
from glaciercube.cube.detectors import with_mask
from glaciercube.cube.masks import clear
from glaciercube.errors import GlacierCubeError, SchemaError

BANDS = ["swir16", "green"]
REACH = 4


def bright(values):
    """See where the first band is brighter than the second; no neighbours."""
    with np.errstate(invalid="ignore"):
        return values[0] > values[1]


def blurred(values, limit=0.5):
    """See where the mean of what was measured within REACH is bright."""
    known = np.isfinite(values[0]).astype(float)
    size = 2 * REACH + 1
    total = ndimage.correlate1d(
        np.nan_to_num(values[0]).astype(float), np.ones(size), 0, mode="constant"
    )
    total = ndimage.correlate1d(total, np.ones(size), 1, mode="constant")
    count = ndimage.correlate1d(known, np.ones(size), 0, mode="constant")
    count = ndimage.correlate1d(count, np.ones(size), 1, mode="constant")
    return total > limit * np.maximum(count, 1)


def test_the_layer_is_replaced_and_says_who_made_it(cube):
    out = with_mask(cube, bright, bands=BANDS)
    first, second = (cube["reflectance"].sel(band=name) for name in BANDS)
    np.testing.assert_array_equal(out["cloud"], (first > second) & cube["valid"])
    assert out["cloud"].dtype == bool
    assert out["cloud"].attrs["source"] == f"{__name__}.bright"
    assert out["cloud"].attrs["bands"] == BANDS
    assert out["cloud"].encoding["grid_mapping"] == "spatial_ref"
    xr.testing.assert_identical(out.drop_vars("cloud"), cube.drop_vars("cloud"))
    assert clear(out).attrs["cloud_source"] == f"{__name__}.bright"


def test_it_may_be_added_to_what_the_provider_saw(cube):
    added = with_mask(cube, bright, bands=BANDS, how="add", label="bright 1.0")
    alone = with_mask(cube, bright, bands=BANDS)
    np.testing.assert_array_equal(added["cloud"], alone["cloud"] | cube["cloud"])
    assert added["cloud"].attrs["source"] == "the provider, and bright 1.0"


def test_a_new_layer_has_its_own_name(cube):
    out = with_mask(cube, bright, bands=BANDS, name="haze")
    assert out["haze"].any()
    np.testing.assert_array_equal(out["cloud"], cube["cloud"])


def test_it_gets_float32_in_order_with_nan_where_not_measured(cube):
    seen = []

    def look(values):
        seen.append(values)
        return np.zeros(values.shape[1:], bool)

    cube["reflectance"] = cube["reflectance"].fillna(0.5)
    with_mask(cube, look, bands=BANDS, halo=3)
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    assert [one.shape for one in seen] == [(2, rows + 6, columns + 6)] * 3
    assert seen[0].dtype == np.float32
    own = seen[1][:, 3:-3, 3:-3]
    expected = cube["reflectance"].isel(time=1).sel(band=BANDS).where(cube["valid"][1])
    np.testing.assert_array_equal(own, expected)
    beyond = seen[0].copy()
    beyond[:, 3:-3, 3:-3] = np.nan
    assert np.isnan(beyond).all()


@pytest.mark.parametrize(
    "chunks",
    [
        {"time": 1, "y": 32, "x": 40},
        {"time": 2, "y": 20, "x": 33},
        {"time": 3, "y": 96, "x": 11},
        {"time": 1, "y": 3, "x": 80},
        {"time": 1, "band": 1, "y": 50, "x": 50},
    ],
)
def test_chunks_do_not_change_the_result_if_the_halo_is_as_wide_as_the_function_sees(cube, chunks):
    whole = with_mask(cube, blurred, bands=BANDS, halo=REACH)["cloud"]
    out = with_mask(cube.chunk(chunks), blurred, bands=BANDS, halo=REACH)["cloud"]
    assert out.data.chunks == cube.chunk(chunks)["valid"].data.chunks
    np.testing.assert_array_equal(out, whole)
    assert 0 < whole.mean() < 1


def test_one_pixel_less_does_change_it(cube, lazy_cube):
    whole = with_mask(cube, blurred, bands=BANDS, halo=REACH)["cloud"]
    out = with_mask(lazy_cube, blurred, bands=BANDS, halo=REACH - 1)["cloud"]
    assert (out != whole).any()


def test_a_halo_may_be_wider_than_the_image(cube, lazy_cube):
    whole = with_mask(cube, blurred, bands=BANDS, halo=150)["cloud"]
    np.testing.assert_array_equal(
        with_mask(lazy_cube, blurred, bands=BANDS, halo=150)["cloud"], whole
    )
    np.testing.assert_array_equal(whole, with_mask(cube, blurred, bands=BANDS, halo=REACH)["cloud"])


def test_it_stays_lazy_and_one_half_may_be_in_memory(cube, lazy_cube, no_compute):
    with no_compute:
        out = with_mask(lazy_cube, blurred, bands=BANDS, halo=REACH)
    assert dask.is_dask_collection(out["cloud"].data)
    mixed = cube.assign(valid=lazy_cube["valid"])
    np.testing.assert_array_equal(
        with_mask(mixed, blurred, bands=BANDS, halo=REACH)["cloud"],
        with_mask(cube, blurred, bands=BANDS, halo=REACH)["cloud"],
    )
    mixed = lazy_cube.assign(valid=cube["valid"])
    assert dask.is_dask_collection(with_mask(mixed, bright, bands=BANDS)["cloud"].data)


def test_names_follow_from_function_label_and_version(lazy_cube, monkeypatch):
    def name(function=blurred, **options):
        return with_mask(lazy_cube, function, bands=BANDS, **options)["cloud"].data.name

    assert name() == name()
    others = {name(), name(bright), name(halo=2), name(partial(blurred, limit=0.6))}
    assert len(others) == 4
    assert name(blurred, label="mine 1") == name(bright, label="mine 1")
    assert name(label="mine 1") != name(label="mine 2")
    before = name()
    monkeypatch.setattr(detectors, "ALGORITHM_VERSION", detectors.ALGORITHM_VERSION + 1)
    assert name() != before


def test_the_function_is_once_in_the_graph(lazy_cube):
    weights = np.zeros(200_000)
    heavy = partial(lambda values, held: bright(values), held=weights)
    out = with_mask(lazy_cube, heavy, bands=BANDS, halo=1, label="heavy")["cloud"].data
    jobs = [key for key in out.dask if str(key).startswith("detector-")]
    assert len(jobs) == 1
    out.compute()


def test_blocks_without_a_measured_pixel_are_passed_over(cube):
    calls = []

    def count(values):
        calls.append(np.isfinite(values).any())
        return np.ones(values.shape[1:], bool)

    cube["valid"][1] = False
    out = with_mask(cube, count, bands=BANDS)
    assert calls == [True, True]
    assert not out["cloud"][1].any()


def test_scan_line_gaps_stay_gaps(cube, lazy_cube):
    for one in (cube, lazy_cube):
        striped = one.copy(deep=True)
        striped["valid"] = one["valid"] & (xr.DataArray(np.arange(96) % 7 > 1, dims="y"))
        striped["reflectance"] = one["reflectance"].where(striped["valid"])
        striped["reflectance"].attrs["units"] = "1"
        striped["valid"].attrs["units"] = "1"
        out = with_mask(striped, lambda values: np.ones(values.shape[1:], bool), bands=BANDS)
        np.testing.assert_array_equal(out["cloud"], striped["valid"])
        np.testing.assert_array_equal(out["valid"], striped["valid"])
        assert not clear(out, cloud="keep")[:, ::7].any()


def broken(values):
    raise ZeroDivisionError("no weights")


def test_a_failure_is_told_with_name_and_place(cube, lazy_cube):
    with pytest.raises(
        GlacierCubeError,
        match=r"with_mask 'cloud': \S+broken failed on time 2021-08-01T00:00:00, y 0-96, x 0-80: "
        "ZeroDivisionError: no weights",
    ):
        with_mask(cube, broken, bands=BANDS)
    out = with_mask(lazy_cube, broken, bands=BANDS, halo=2)["cloud"]
    with pytest.raises(GlacierCubeError, match="time 2022-08-05T00:00:00, y 32-64, x 40-80: Zero"):
        out[1, 40, 50].compute()


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda values: values[0], r"float32 \(100, 84\)"),
        (lambda values: np.zeros(values.shape, bool), r"bool \(2, 100, 84\)"),
        (lambda values: None, "NoneType"),
    ],
)
def test_anything_but_a_mask_is_refused(cube, function, found):
    with pytest.raises(
        SchemaError, match=rf"must return bool \(100, 84\) .* but returned {found} on time 2021"
    ):
        with_mask(cube, function, bands=BANDS, halo=2)


def test_what_cannot_begin_is_listed(cube):
    with pytest.raises(SchemaError, match=r"bands must be of \['blue', .*found \['swir17'\]"):
        with_mask(cube, bright, bands=["swir17"])
    with pytest.raises(SchemaError, match=r"found \[\]"):
        with_mask(cube, bright, bands=[])
    with pytest.raises(SchemaError, match="'valid' says what was measured and nothing else"):
        with_mask(cube, bright, bands=BANDS, name="valid")
    with pytest.raises(SchemaError, match=r"'elevation' is float32 \('y', 'x'\), no mask"):
        with_mask(cube, bright, bands=BANDS, name="elevation")
    with pytest.raises(SchemaError, match="how is 'replace' or 'add', found 'and'"):
        with_mask(cube, bright, bands=BANDS, how="and")
    with pytest.raises(SchemaError, match="halo is a number of pixels, 0 or more, found -1"):
        with_mask(cube, bright, bands=BANDS, halo=-1)
    with pytest.raises(SchemaError, match="'haze' is missing"):
        with_mask(cube, bright, bands=BANDS, name="haze", how="add")


class FakeOmniCloudMask(ModuleType):
    """With the signature of omnicloudmask 1.8.1 as far as it is used."""

    def __init__(self):
        super().__init__("omnicloudmask")

    def predict_from_array(
        self, input_array, patch_size=1000, patch_overlap=300, batch_size=1, *, no_data_value=0
    ):
        assert input_array.shape[0] == 3
        assert np.isfinite(input_array).all()
        return np.digitize(input_array[:1], [0.5, 0.7, 0.9]).astype(np.uint8)


class FakeS2Cloudless(ModuleType):
    """With the signatures of s2cloudless 1.7.3 as far as they are used."""

    def __init__(self):
        super().__init__("s2cloudless")
        self.S2PixelCloudDetector = self.Detector

    class Detector:
        def __init__(
            self,
            threshold=0.4,
            all_bands=False,
            average_over=1,
            dilation_size=1,
            model_filename=None,
        ):
            self.threshold = threshold

        def get_cloud_masks(self, data):
            assert data.ndim == 4
            assert data.shape[3] == 10
            return (data[..., 0] > self.threshold).astype(np.int8)


@pytest.mark.parametrize(
    ("fake", "band", "low", "high"),
    [(FakeOmniCloudMask, "red", 0.5, 0.9), (FakeS2Cloudless, "coastal", 0.4, 9.0)],
)
def test_the_documented_examples_run(cube, monkeypatch, fake, band, low, high):
    module = fake()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    page = (Path(__file__).parents[2] / "docs" / "masks.md").read_text()
    (code,) = (
        one for one in re.findall(r"```python\n(.*?)```", page, re.S) if module.__name__ in one
    )
    names = ["coastal", *cube["band"].values[:7], "nir08", "nir09", "cirrus", "swir16", "swir22"]
    have = list(cube["band"].values)
    wide = cube.isel(band=[have.index(one) if one in have else 0 for one in names])
    wide = wide.assign_coords(band=names)
    scope = {"with_mask": with_mask, "cube": wide}
    exec(compile(code, "docs/masks.md", "exec"), scope)
    out = scope["cube"]
    value = wide["reflectance"].sel(band=band)
    np.testing.assert_array_equal(out["cloud"], (value > low) & (value < high) & wide["valid"])
    assert out["cloud"].attrs["source"].startswith(module.__name__)
