import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from glaciercube.errors import SchemaError
from glaciercube.view.plots import plot


def test_each_kind_of_data_has_its_picture(layers, outlines, series, cube):
    assert len(plot(series)) == 3
    assert len(plot(layers)) == 3
    assert len(plot(cube)) == 3
    assert isinstance(plot(outlines), Axes)


def test_one_layer_alone(layers):
    panels = plot(layers["extent"])
    words = [text.get_text() for text in panels[0].figure.legends[0].get_texts()]
    assert words == ["not glacier", "glacier", "not observed"]


def test_options_reach_the_picture(layers, outlines):
    panels = plot(layers, layer="extent", outlines=outlines, max_maps=2)
    assert len(panels) == 2
    assert panels[0].figure.get_suptitle().startswith("glacier extent, 2 of 3 dates")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (xr.Dataset({"albedo": ("x", np.zeros(2))}), r"a Dataset with \['albedo'\]"),
        (xr.DataArray(np.zeros(2), dims="x"), r"a DataArray named None with dims \('x',\)"),
        (3, "int"),
    ],
)
def test_what_it_cannot_draw(data, found):
    with pytest.raises(SchemaError, match=f"plot draws a series .* found {found}"):
        plot(data)
