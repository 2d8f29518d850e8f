import matplotlib.pyplot as plt
import numpy as np
import pytest

from glaciercube.errors import SchemaError
from glaciercube.view.lines import _seasons, plot_series


def drawn(axis, label):
    (line,) = [one for one in axis.lines if one.get_label() == label]
    return line


def test_panels_with_units(series):
    panels = plot_series(series)
    assert [axis.get_ylabel() for axis in panels] == [
        "glacier area (km²)", "snow-covered share (AAR)", "snowline (m)",
    ]  # fmt: skip
    assert panels[-1].get_xlabel() == "date (UTC)"


def test_values_are_those_of_the_series(series):
    panels = plot_series(series)
    np.testing.assert_allclose(drawn(panels[0], "RGI-2").get_ydata(), [0.5, 0.45, 0.4])
    np.testing.assert_allclose(drawn(panels[2], "Aletsch").get_ydata(), [2800, 2850])


def test_uncertainty_is_one_on_each_side(series):
    band = plot_series(series)[0].collections[1].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(0.36)
    assert band.max() == pytest.approx(0.55)


def test_an_area_seen_in_part_is_an_open_mark(series):
    axis = plot_series(series)[0]
    (part,) = [
        one for one in axis.lines if one.get_markerfacecolor() == "none" and len(one.get_ydata())
    ]
    assert part.get_ydata().tolist() == [1.1]


def test_names_in_the_legend(series):
    words = [text.get_text() for text in plot_series(series)[0].get_legend().get_texts()]
    assert words == ["Aletsch", "RGI-2", "observed part only"]
    words = [
        text.get_text()
        for text in plot_series(series.sel(glacier=["RGI-2"]))[0].get_legend().get_texts()
    ]
    assert words == ["RGI-2"]


def test_only_the_largest_are_drawn_and_it_is_said(series):
    panels = plot_series(series, max_glaciers=1)
    assert panels[0].get_title(loc="left") == "1 largest of 2 glaciers"
    assert [text.get_text() for text in panels[0].get_legend().get_texts()][0] == "Aletsch"


def test_panels_without_values_are_left_out(series):
    series["snowline"][:] = np.nan
    assert len(plot_series(series)) == 2


def test_a_series_that_was_never_observed_enough(series):
    for name in ("area", "aar", "snowline"):
        series[name][:] = np.nan
    (axis,) = plot_series(series)
    assert axis.get_ylabel() == "glacier area (km²)"


def test_lazy_series_are_computed_once(series):
    lazy = series.chunk(time=1)
    panels = plot_series(lazy)
    np.testing.assert_allclose(drawn(panels[0], "RGI-2").get_ydata(), [0.5, 0.45, 0.4])


def test_simulated_data_are_called_so(series):
    title = plot_series(series.assign_attrs(simulated=1))[0].get_title(loc="left")
    assert title == "simulated data"


def test_own_axes_are_used(series):
    _, given = plt.subplots(3)
    assert list(plot_series(series, axes=given)) == list(given)


def test_too_few_axes(series):
    _, axis = plt.subplots()
    with pytest.raises(SchemaError, match="needs 3 Axes for 3 panels, found 1"):
        plot_series(series, axes=axis)


def test_nothing_to_draw(series):
    with pytest.raises(
        SchemaError, match=r"needs one of \['area', 'aar', 'snowline'\] with a value"
    ):
        plot_series(series[["aar_uncertainty"]])


def test_snowlines_of_different_seasons_are_not_joined():
    times = np.array(["2021-07-01", "2021-08-01", "2022-08-01"], "datetime64[ns]")
    time, values = _seasons(times, np.array([1.0, 2.0, 3.0]))
    assert np.isnan(values[2])
    assert values[[0, 1, 3]].tolist() == [1, 2, 3]
    assert times[1] < time[2] < times[2]
    yearly = np.array(["2021-08-01", "2022-08-01", "2023-08-01"], "datetime64[ns]")
    time, values = _seasons(yearly, np.array([1.0, 2.0, 3.0]))
    assert values.tolist() == [1, 2, 3]
