import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import colors
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.errors import SchemaError
from glaciercube.view import maps


def image(axis):
    return np.asarray(axis.get_images()[0].get_array())


def legend(panels):
    return [text.get_text() for text in panels[0].figure.legends[0].get_texts()]


def test_categories_have_the_colours_of_the_schema(layers):
    panels = maps.plot_layers(layers.drop_vars("elevation"))
    drawn = image(panels[0])
    colours = {one.name: colors.to_rgba(one.colour) for one in schema.FACIES}
    np.testing.assert_allclose(drawn[30, 30], colours["snow"])
    np.testing.assert_allclose(drawn[70, 30], colours["ice"])
    np.testing.assert_allclose(drawn[0, 79], colours["land"])
    assert legend(panels) == ["ice", "snow", "land", "not observed"]


def test_what_was_not_observed_is_see_through_to_hatching(layers):
    panels = maps.plot_layers(layers)
    assert (image(panels[1])[:20, :20, 3] == 0).all()
    assert (image(panels[0])[:20, :20, 3] == 1).all()
    assert panels[1].patch.get_hatch() == maps.NOT_OBSERVED["hatch"]


def test_relief_darkens_and_never_brightens(layers):
    plain = image(maps.plot_layers(layers.drop_vars("elevation"))[0])
    shaded = image(maps.plot_layers(layers)[0])
    assert (shaded[..., :3] <= plain[..., :3] + 1e-12).all()
    assert (shaded[..., :3] < plain[..., :3]).any()
    assert (shaded[..., :3] >= (1 - maps.SHADE) * plain[..., :3] - 1e-6).all()


def test_unknown_elevation_is_not_shaded(layers):
    layers["elevation"][:] = np.nan
    plain = image(maps.plot_layers(layers.drop_vars("elevation"))[0])
    np.testing.assert_array_equal(image(maps.plot_layers(layers)[0]), plain)


def test_axes_are_in_kilometres_with_the_crs(layers):
    panels = maps.plot_layers(layers)
    assert panels[0].get_xlabel() == "easting (km, EPSG:32632)"
    assert panels[0].get_ylabel() == "northing (km)"
    np.testing.assert_allclose(panels[0].get_xlim(), (600.0, 600.8))
    np.testing.assert_allclose(panels[0].get_ylim(), (5000.0, 5000.96))
    assert [axis.get_title() for axis in panels] == ["2021-08-01", "2022-08-05", "2023-08-03"]


@pytest.mark.parametrize("dim", ["y", "x"])
def test_north_is_up_and_east_is_right_for_any_grid(layers, dim):
    plain = image(maps.plot_layers(layers.drop_vars("elevation"))[1])
    flipped = layers.drop_vars("elevation").isel({dim: slice(None, None, -1)})
    panels = maps.plot_layers(flipped)
    np.testing.assert_array_equal(image(panels[1]), plain)
    assert panels[0].get_ylim()[0] < panels[0].get_ylim()[1]
    assert panels[0].get_xlim()[0] < panels[0].get_xlim()[1]


def test_scale_bar_has_a_round_length(layers):
    axis = maps.plot_layers(layers)[0]
    assert [text.get_text() for text in axis.texts] == ["200 m"]
    bar = axis.lines[0].get_xdata()
    assert bar[1] - bar[0] == pytest.approx(0.2)


def test_a_grid_in_degrees(layers):
    geobox = GeoBox.from_bbox((10, 60, 10.08, 60.096), "EPSG:4326", resolution=0.001)
    degrees = grid.georeferenced(layers.drop_vars(["x", "y", "spatial_ref"]), geobox)
    axis = maps.plot_layers(degrees)[0]
    assert axis.get_xlabel() == "longitude (°, EPSG:4326)"
    assert axis.get_aspect() == pytest.approx(1 / np.cos(np.radians(60.048)))
    assert axis.texts[0].get_text() == "1 km"
    bar = axis.lines[0].get_xdata()
    assert (bar[1] - bar[0]) * 111.32 * np.cos(np.radians(60.048)) == pytest.approx(1)


def test_large_maps_are_thinned_before_they_are_computed(layers, monkeypatch):
    monkeypatch.setattr(maps, "MAX_PIXELS", 40)
    panels = maps.plot_layers(layers)
    assert image(panels[0]).shape[:2] == (32, 27)
    low, high = panels[0].get_xlim()
    assert low == pytest.approx(600.0)
    assert high == pytest.approx(600.81)


def test_many_dates_are_thinned_and_it_is_said(layers):
    panels = maps.plot_layers(layers, max_maps=2)
    assert [axis.get_title() for axis in panels] == ["2021-08-01", "2023-08-03"]
    assert "2 of 3 dates" in panels[0].figure.get_suptitle()


def test_annual_layers_are_titled_by_year(layers):
    yearly = layers.assign_coords(glacier_year=("time", [2021, 2022, 2023]))
    assert maps.plot_layers(yearly)[1].get_title() == "2022 (to 2022-08-05)"


def test_one_date_without_time(layers):
    panels = maps.plot_layers(layers.isel(time=0))
    assert len(panels) == 1


def test_simulated_data_are_called_so(layers, cube, outlines):
    simulated = {"simulated": 1}
    assert (
        "simulated data"
        in maps.plot_layers(layers.assign_attrs(simulated))[0].figure.get_suptitle()
    )
    assert "simulated data" in maps.plot_cube(cube.assign_attrs(simulated))[0].figure.get_suptitle()
    outlines.attrs.update(simulated)
    assert "simulated data" in maps.plot_outlines(outlines).get_title(loc="left")
    _, axis = plt.subplots()
    maps.plot_layers(layers.isel(time=[0]).assign_attrs(simulated), axes=axis)
    assert axis.get_title() == "2021-08-01 (simulated data)"
    assert "simulated" not in maps.plot_layers(layers)[0].figure.get_suptitle()


def test_outlines_on_top_stay_within_the_map(layers, outlines):
    axis = maps.plot_layers(layers, outlines=outlines.set_geometry(outlines.scale(3, 3)))[0]
    np.testing.assert_allclose(axis.get_xlim(), (600.0, 600.8))
    assert len(axis.collections) == 1


def test_own_axes_are_used(layers):
    _, given = plt.subplots(1, 3)
    panels = maps.plot_layers(layers, axes=given)
    assert list(panels) == list(given)
    assert given[0].get_legend() is not None


def test_reflectance_is_drawn_the_same_on_all_dates(cube):
    panels = maps.plot_cube(cube)
    values = cube["reflectance"].sel(band=["red", "green", "blue"]).isel(time=1)
    expected = np.sqrt(np.clip(values.values, 0, 1))[:, 50, 60]
    np.testing.assert_allclose(image(panels[1])[50, 60, :3], expected, rtol=1e-6)
    assert image(panels[1])[50, 60, 3] == 1
    assert (image(panels[1])[:12, :10, 3] == 0).all()
    assert "true colour" in panels[0].figure.get_suptitle()


def test_false_colour_and_any_three_bands(cube):
    assert "false colour" in maps.plot_cube(cube, bands=maps.FALSE_COLOUR)[0].figure.get_suptitle()
    words = maps.plot_cube(cube, bands=("nir", "red", "green"))[0].figure.get_suptitle()
    assert "nir, red, green as red, green, blue" in words


def test_outlines_by_year_in_kilometres(outlines):
    axis = maps.plot_outlines(outlines)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["2021", "2023"]
    assert axis.get_xlabel() == "easting (km, EPSG:32632)"
    low, high = axis.get_xlim()
    assert 600.1 < low < 600.2 < 600.6 < high < 600.7


def test_outlines_without_dates(outlines):
    axis = maps.plot_outlines(outlines.drop(columns="src_date"))
    assert axis.get_legend() is None


def test_no_such_layer(layers):
    with pytest.raises(
        SchemaError, match=r"no layer 'albedo' to draw; there are \['extent', 'facies'\]"
    ):
        maps.plot_layers(layers, layer="albedo")
    with pytest.raises(SchemaError, match=r"no layer 'facies' to draw; there are \['extent'\]"):
        maps.plot_layers(layers.drop_vars("facies"), layer="facies")


def test_too_few_axes(layers):
    _, axis = plt.subplots()
    with pytest.raises(SchemaError, match="needs 3 Axes for 3 dates, found 1"):
        maps.plot_layers(layers, axes=axis)


@pytest.mark.parametrize("bands", [("red", "green"), ("red", "green", "b3")])
def test_bands_that_make_no_colour(cube, bands):
    with pytest.raises(
        SchemaError, match=r"needs three bands of \[.*\] for colours, found \['red'"
    ):
        maps.plot_cube(cube, bands=bands)


def test_no_outlines(outlines):
    with pytest.raises(SchemaError, match="found 0 rows and CRS EPSG:4326"):
        maps.plot_outlines(outlines.iloc[:0])
    with pytest.raises(SchemaError, match="found 2 rows and CRS None"):
        maps.plot_outlines(outlines.set_crs(None, allow_override=True))
