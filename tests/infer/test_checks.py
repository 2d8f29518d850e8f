from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.errors import GlacierCubeWarning, GridError, SchemaError, WeightsError
from glaciercube.infer import checks
from glaciercube.infer.work import Work


def test_cards_of_one_task_need_the_same_categories(card):
    other = replace(card, name="second", categories=card.categories[::-1])
    with pytest.raises(WeightsError, match=r"small-facies has \['ice'.*second has \['land'"):
        checks.check_cards([card, other])
    checks.check_cards([card, replace(card, name="second")])


def test_no_card_is_refused():
    with pytest.raises(WeightsError, match="one card or more, found none"):
        checks.check_cards([])


def test_every_missing_band_is_named_with_its_alternates(cube, card):
    few = cube.sel(band=["green", "blue", "swir16"])
    with pytest.raises(SchemaError) as caught:
        checks.check_cube(few, [card])
    assert str(caught.value) == (
        "small-facies needs the bands ['green', 'red', 'nir or nir08', 'swir16'], the cube lacks "
        "['red', 'nir or nir08']; it has ['green', 'blue', 'swir16']; load it with these bands or "
        "take another network"
    )


def test_a_cube_without_band_names_lacks_all_bands(cube, card):
    with pytest.raises(SchemaError, match=r"lacks \['green', .*it has \[\]"):
        checks.check_cube(cube.drop_vars("band"), [card])


@pytest.mark.parametrize("level", ["top-of-atmosphere", None])
def test_another_level_is_refused(cube, card, level):
    other = cube.assign_attrs(level=level)
    match = (
        rf"trained on reflectance of level \['surface'\], the cube's attrs\['level'\] is {level!r}"
    )
    with pytest.raises(SchemaError, match=match):
        checks.check_cube(other, [card])


def test_a_cube_must_fit_the_schema(cube, card):
    with pytest.raises(SchemaError, match="'valid' is missing"):
        checks.check_cube(cube.drop_vars("valid"), [card])
    with pytest.raises(SchemaError, match="dtype float64, needs float32"):
        checks.check_cube(cube.assign(reflectance=cube["reflectance"].astype(float)), [card])


def test_a_cube_must_have_a_grid(cube, card):
    bare = cube.drop_vars("spatial_ref")
    for name in bare.variables:
        bare[name].encoding.clear()
        bare[name].attrs.pop("crs", None)
    with pytest.raises(GridError, match="coordinate reference system"):
        checks.check_cube(bare, [card])


@pytest.mark.parametrize("resolution", [5, 60])
def test_pixels_of_another_size_warn(cube, card, resolution):
    rows, columns = 96, 80
    box = (600_000, 5_040_000, 600_000 + columns * resolution, 5_040_000 + rows * resolution)
    bare = xr.Dataset(
        {name: cube[name].variable for name in ("reflectance", "valid")},
        coords={"time": cube["time"], "band": cube["band"]},
        attrs=cube.attrs,
    )
    other = grid.georeferenced(bare, GeoBox.from_bbox(box, "EPSG:32632", resolution=resolution))
    with pytest.warns(GlacierCubeWarning, match=f"of 9 to 31 m, the cube has {resolution} m"):
        checks.check_cube(other, [card])


def test_outputs_are_listed_if_one_is_unknown(card, extent_card):
    with pytest.raises(
        SchemaError, match=r"give \['confidence', 'entropy', 'facies', 'probability', 'v"
    ):
        checks.outputs_of(["facies", "extent"], [card])
    with pytest.raises(SchemaError, match=r"outputs has \['probability'\]"):
        checks.outputs_of(["probability"], [extent_card])
    with pytest.raises(SchemaError, match=r"outputs has \[\]"):
        checks.outputs_of([], [card])


def test_outputs_come_in_the_schemas_order(card, extent_card):
    wanted = ["probability", "confidence", "extent", "facies"]
    found = checks.outputs_of(wanted, [extent_card, card])
    assert found == ("facies", "extent", "confidence", "probability")
    planes = checks.planes_of(found, [extent_card, card])
    assert planes[:3] == found[:3]
    assert planes[3:] == tuple(f"probability/{name}" for name in card.categories)


def test_the_halo_is_the_largest_of_the_cards_on_their_common_stride(card, extent_card):
    assert checks.halo_of(None, [card, extent_card]) == (5, 1)
    assert checks.halo_of(None, [card, replace(extent_card, stride=4)]) == (8, 4)
    assert checks.halo_of(np.int64(2), [card]) == (2, 1)


@pytest.mark.parametrize("halo", [-1, 2.5, "wide", True])
def test_a_halo_is_a_number_of_pixels(card, halo):
    with pytest.raises(SchemaError, match=f"0 or more, or 'effective', found {halo!r}"):
        checks.halo_of(halo, [card])


def test_long_lists_of_chunks_are_shortened():
    work = Work(
        refs=(), bands=(), planes=(), halo=3, stride=1, times=(), positions=(),
        chunks=((1,), (8,) * 40 + (2,), (8,)),
    )  # fmt: skip
    with pytest.raises(SchemaError, match=r"\(8, 8, 8, 8, 8, 8, 8, 8, \.\.\. 2\)"):
        checks.overlap_of(work)
