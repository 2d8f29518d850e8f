"""Networks that see several dates at once: the same numbers as over the whole cube in memory."""

import json
from dataclasses import replace
from pathlib import Path

import dask
import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
import xarray as xr
from cards import make_card
from conftest import make_cube
from torch import nn

from glaciercube import api, grid
from glaciercube.cover.regions import region_of
from glaciercube.errors import GlacierCubeWarning
from glaciercube.infer.lazy import predict
from glaciercube.model import networks, registry
from glaciercube.store.reading import Source, read
from glaciercube.store.writing import write

DATES = ("2021-07-02", "2021-08-01", "2021-08-11", "2022-07-20", "2022-08-05")
SUMMER = {"count": 3, "season": ["06-01", "09-30"]}
CENTRED = [[-1, 0, 1], [0, 1, 2], [1, 2, -1], [-1, 3, 4], [3, 4, -1]]
"""What is seen with each date in SUMMER, as written down by hand."""

PAST = [[-1, 0], [0, 1], [1, 2], [2, 3], [3, 4]]
LAYERS = ("facies", "confidence", "entropy", "probability", "valid_fraction")
BANDS = ("green", "red", "nir", "swir16")


@pytest.fixture
def cube(geobox):
    """Return a cube of five dates with holes of their own."""
    cube = make_cube(geobox, DATES)
    cube["valid"][1, 20:70, 30:60] = False
    cube["reflectance"][3, :, 60:, 10:50] = np.nan
    cube["valid"][2, :40] = False
    return cube


@pytest.fixture
def stored(cube, tmp_path):
    write(cube.chunk(time=1, band=-1, y=32, x=40), tmp_path / "cube.zarr")
    return read(tmp_path / "cube.zarr")


@pytest.fixture
def summer(tmp_path):
    """Return a card of three dates with masks, whose fill is not the mean."""
    return make_card(tmp_path, seed=4, dates=SUMMER, fill=-0.75)


@pytest.fixture
def past(tmp_path):
    """Return an extent card of two dates without masks."""
    dates = {"count": 2, "anchor": "past", "mask": False}
    return make_card(tmp_path, seed=5, task="extent", dates=dates)


def by_hand(cube, card, seen):
    """Return probabilities (category, y, x) and what was measured at the last of the dates.

    `seen` are the dates, and which of them is reported.
    """
    channels = []
    for date in seen[0]:
        values = cube["reflectance"].sel(band=list(BANDS)).values[date]
        measured = cube["valid"].values[date] & np.isfinite(values).all(axis=0) & (date >= 0)
        for value, mean, std in zip(values, card.mean, card.std, strict=True):
            normal = (value - np.float32(mean)) / np.float32(std)
            channels.append(np.where(measured, normal, np.float32(card.fill)))
        if card.dates["mask"]:
            channels.append(measured.astype(np.float32))
        if card.dates.get("day"):
            days = (np.datetime64(DATES[date]) - np.datetime64(DATES[seen[1]])).astype(int)
            channels.append(np.full(measured.shape, days * (date >= 0) / 365, np.float32))
        if date == seen[1]:
            reported = measured
    with torch.inference_mode():
        scores = registry.network_of(card)(torch.from_numpy(np.stack(channels)[np.newaxis]))[0]
    return (scores / card.temperature).softmax(0).numpy(), reported


def require_same(found, expected, atol=1e-6):
    assert set(found.data_vars) == set(expected.data_vars)
    for name in expected.data_vars:
        one, other = found[name].values, expected[name].values
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)


# --- numbers


class Brightest(nn.Module):
    """The highest NDSI of all dates on which a pixel was measured, as two categories' scores."""

    def __init__(self, bands, categories):
        super().__init__()
        self.bands = bands // 4

    def forward(self, image):
        seen = image.unflatten(1, (4, self.bands))
        green, swir16, measured = seen[:, :, 0], seen[:, :, 1], seen[:, :, -1]
        ndsi = torch.where(measured > 0, (green - swir16) / (green + swir16), -99.0)
        highest = ndsi.amax(dim=1)
        return torch.stack([highest, -highest], dim=1)


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_a_temporal_maximum_is_that_of_the_whole_cube(stored, tmp_path, monkeypatch, strategy):
    monkeypatch.setattr(networks, "NETWORKS", {"brightest": Brightest})
    cube = stored.compute()
    card = make_card(
        tmp_path, seed=9, architecture="brightest", arguments={}, halo=0, temperature=1.0,
        bands=("green", "swir16"), mean=(0.0, 0.0), std=(1.0, 1.0), categories=("snow", "ice"),
        dates={"count": 4, "anchor": "nearest", "days": 45},
    )  # fmt: skip
    green, swir16 = (cube["reflectance"].sel(band=name).values for name in ("green", "swir16"))
    measured = cube["valid"].values & np.isfinite(cube["reflectance"].values).all(axis=1)
    ndsi = np.where(measured, (green - swir16) / (green + swir16), -99.0)
    groups = [(0, 1, 2), (0, 1, 2), (0, 1, 2), (3, 4), (3, 4)]
    highest = np.stack([ndsi[list(group)].max(axis=0) for group in groups])
    with np.errstate(over="ignore"):
        expected = np.where(measured, 1 / (1 + np.exp(-2 * highest)), np.nan)
    found = predict(stored, [card], outputs=["probability"], strategy=strategy)
    found = found["probability"].sel(category="snow").values
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_equals_the_whole_image_in_plain_torch(stored, summer, strategy):
    out = predict(stored, [summer], outputs=("facies", "probability"), strategy=strategy).compute()
    cube = stored.compute()
    for date in range(len(DATES)):
        probability, measured = by_hand(cube, summer, (CENTRED[date], date))
        assert 0 < measured.sum() < measured.size
        expected = np.where(measured, probability, np.nan)
        found = out["probability"].values[date]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        codes = np.array(summer.codes, np.uint8)[probability.argmax(0)]
        np.testing.assert_array_equal(out["facies"][date], np.where(measured, codes, 255))


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_a_network_is_given_the_day_of_each_date(stored, tmp_path, strategy, mask):
    card = make_card(tmp_path, seed=6, dates=SUMMER | {"day": True, "mask": mask}, fill=-0.75)
    out = predict(stored, [card], outputs=["probability"], strategy=strategy)["probability"]
    cube = stored.compute()
    for date in range(len(DATES)):
        probability, measured = by_hand(cube, card, (CENTRED[date], date))
        expected = np.where(measured, probability, np.nan)
        np.testing.assert_allclose(out.values[date], expected, rtol=0, atol=2e-6)


@pytest.fixture
def days(stored, tmp_path, monkeypatch):
    """Return a function that gives what the network sees as days, with what else is given."""
    images = []
    monkeypatch.setattr(
        "glaciercube.infer.runtime_torch.TorchRuntime._forward",
        lambda self, image, inner: images.append(image.clone()) or image[:, :5, inner[0], inner[1]],
    )

    def seen(**dates):
        card = make_card(tmp_path, seed=6, dates={"day": True, **dates})
        del images[:]
        predict(stored, [card], outputs=["facies"])["facies"][:, 64:, 40:].compute()
        found = [image.unflatten(1, (dates["count"], -1))[0, :, -1] for image in images]
        assert all((one.amin((1, 2)) == one.amax((1, 2))).all() for one in found)
        return sorted((365 * one[:, 0, 0]).round().int().tolist() for one in found)

    return seen


def test_days_are_those_from_the_date_itself_and_0_where_padded(days):
    assert days(count=3, season=["06-01", "09-30"]) == sorted(
        [[0, 0, 30], [-30, 0, 10], [-10, 0, 0], [0, 0, 16], [-16, 0, 0]]
    )
    assert days(count=2, anchor="nearest") == sorted(
        [[0, 30], [0, 10], [-10, 0], [0, 16], [-16, 0]]
    )


def test_a_date_without_a_pixel_in_sight_keeps_its_day(days, stored):
    """Date 3 has no measured pixel in the lower left block, and is no padded date."""
    assert [-16, 0, 0] in days(count=3, season=["06-01", "09-30"])


@pytest.mark.parametrize(
    "chunks",
    [{"y": 32, "x": 40}, {"time": 2, "y": 50, "x": 27}, {"time": 5, "band": 1, "y": 48, "x": 40}],
)
def test_chunks_do_not_change_the_result(cube, summer, past, card, chunks):
    cards = [summer, past, card]
    whole = predict(cube, cards, outputs=LAYERS).compute()
    lazy = cube.chunk({"time": 1, "band": -1} | chunks)
    require_same(predict(lazy, cards, outputs=LAYERS).compute(), whole)


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_each_network_of_a_call_sees_its_own_dates(stored, summer, past, card, strategy):
    cards = [summer, past, card]  # an ensemble of facies, and an extent
    outputs = ("probability", "glacier_probability")
    out = predict(stored, cards, outputs=outputs, strategy=strategy).compute()
    cube = stored.compute()
    for date in range(len(DATES)):
        three, measured = by_hand(cube, summer, (CENTRED[date], date))
        alone = {"count": 1, "mask": False}
        one, _ = by_hand(cube, replace(card, dates=alone), ([date], date))
        expected = np.where(measured, (three + one) / 2, np.nan)
        np.testing.assert_allclose(out["probability"][date], expected, rtol=0, atol=2e-6)
        extent, _ = by_hand(cube, past, (PAST[date], date))
        seen = measured & (extent.argmax(0) != 2)
        expected = np.where(seen, extent[1], np.nan)
        np.testing.assert_allclose(out["glacier_probability"][date], expected, rtol=0, atol=1e-6)


def test_a_share_measured_is_that_of_the_date_itself(stored, summer, card):
    name = "valid_fraction"
    one = predict(stored, [card], outputs=[name])[name].values
    np.testing.assert_array_equal(predict(stored, [summer], outputs=[name])[name].values, one)


def test_a_cube_out_of_order_gives_each_date_the_same(cube, summer):
    expected = predict(cube, [summer], outputs=LAYERS).compute()
    mixed = cube.isel(time=[3, 0, 4, 2, 1])
    require_same(predict(mixed, [summer], outputs=LAYERS).compute().sortby("time"), expected)


def test_a_part_of_a_store_gives_the_same_if_it_has_what_is_seen(stored, summer, tmp_path):
    whole = predict(stored, [summer]).sel(time="2021").compute()
    part = predict(read(tmp_path / "cube.zarr", time="2021"), [summer], strategy="direct")
    require_same(part.compute(), whole)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_any_scheduler_gives_the_same(stored, summer, scheduler, strategy):
    out = predict(stored, [summer], strategy=strategy)["facies"][:, 32:64]
    expected = out.compute(scheduler="synchronous")
    np.testing.assert_array_equal(out.compute(scheduler=scheduler), expected)


# --- what is read and computed


@pytest.fixture
def loads(monkeypatch):
    """Return a list that grows by each read of a store: variable, date, window."""
    seen = []
    original = Source.load

    def load(self, time, window):
        seen.append((self.variable, time, window))
        return original(self, time, window)

    monkeypatch.setattr(Source, "load", load)
    return seen


def test_a_block_reads_the_dates_it_sees_once_and_runs_each_network_once(
    stored, summer, past, card, loads, forwards
):
    cards = [summer, past, card]
    predict(stored, cards, outputs=["facies"])["facies"][4, 32:64, :40].compute()
    assert [channels for _, channels, *_ in forwards] == [15, 4, 8]
    bands = [(time, window.shape) for variable, time, window in loads if variable != "valid"]
    # the halo of the cards is 3; of date 3 no pixel below row 60 is measured, but some are valid
    assert sorted(bands) == [(3, (38, 43)), (4, (38, 43))]
    assert sorted(time for variable, time, _ in loads if variable == "valid") == [3, 4]


def test_without_a_valid_pixel_no_date_is_read_and_no_network_runs(stored, summer, loads, forwards):
    cut = predict(stored, [summer])["facies"][2, :32, :40]
    assert (cut.compute() == 255).all()
    assert [(variable, time) for variable, time, _ in loads] == [("valid", 2)]
    assert forwards == []


def test_where_no_band_was_measured_no_other_date_is_read(cube, summer, tmp_path, loads, forwards):
    cube["reflectance"][1] = np.nan
    write(cube.chunk(time=1, band=-1, y=96, x=80), tmp_path / "gap.zarr")
    del loads[:]
    out = predict(read(tmp_path / "gap.zarr"), [summer], outputs=["facies"])["facies"][1]
    assert (out.compute() == 255).all()
    assert [(variable, time) for variable, time, _ in loads] == [("valid", 1), ("reflectance", 1)]
    assert forwards == []


def test_of_a_date_without_a_valid_pixel_no_band_is_read(stored, summer, loads, forwards):
    predict(stored, [summer], outputs=["facies"])["facies"][1, :32, :30].compute()
    read_of = {
        name: [time for variable, time, _ in loads if variable == name]
        for name in ("valid", "reflectance")
    }
    assert read_of == {"valid": [1, 0, 2], "reflectance": [1, 0]}
    assert len(forwards) == 1


def test_layers_stay_lazy_and_need_no_weights(stored, summer, past, no_compute):
    Path(summer.weights).unlink()
    with no_compute:
        for strategy in ("direct", "overlap"):
            out = predict(stored, [summer, past], strategy=strategy)
            assert all(out[name].chunks for name in out.data_vars)


@pytest.mark.parametrize("time", [1, 5])
def test_several_dates_are_no_more_tasks_than_one(cube, summer, card, time):
    lazy = cube.chunk(time=time, band=-1, y=32, x=40)
    sizes = {
        len(dict(predict(lazy, cards)["facies"].data.__dask_graph__()))
        for cards in ([card], [summer])
    }
    assert len(sizes) == 1


def test_a_task_is_given_the_chunks_that_its_block_sees(cube, summer):
    lazy = cube.chunk(time=1, band=-1, y=96, x=80)
    layer = predict(lazy, [summer])["facies"][3:4].data
    graph = layer.__dask_graph__().cull(set(dask.core.flatten(layer.__dask_keys__())))
    needed = [key for key in dict(graph) if str(key[0]).startswith("measured-")]
    assert sorted(key[1] for key in needed) == [3, 4]


def test_names_follow_from_the_days_between_dates(cube, tmp_path):
    lazy = cube.chunk(time=1, band=-1, y=32, x=40)
    later = lazy.assign_coords(time=lazy["time"] + np.timedelta64(1, "D"))
    wider = lazy.assign_coords(time=lazy["time"] + np.arange(5) * np.timedelta64(1, "D"))
    names = []
    for day in (False, True):
        card = make_card(tmp_path, seed=4, dates=SUMMER | {"day": day})
        names.append([predict(one, [card])["facies"].data.name for one in (lazy, later, wider)])
    assert [len(set(each)) for each in names] == [1, 2]
    assert names[1][0] == names[1][1]


def test_names_follow_from_the_dates_that_are_seen(stored, cube, summer):
    lazy = cube.chunk(time=1, band=-1, y=32, x=40)
    later = lazy.assign_coords(time=lazy["time"] + np.timedelta64(1, "D"))
    moved = lazy.assign_coords(time=lazy["time"].values + np.arange(5) * np.timedelta64(300, "D"))
    other = replace(summer, dates=SUMMER | {"days": 15})
    with pytest.warns(GlacierCubeWarning, match="lie outside"):
        apart = predict(moved, [summer])["facies"].data.name
    names = [predict(data, [summer])["facies"].data.name for data in (lazy, later)]
    assert names[0] == names[1] != apart
    assert predict(stored, [other])["facies"].data.name != (
        predict(stored, [summer])["facies"].data.name
    )


# --- with all else that the operator promises


class Normed(nn.Module):
    """A network whose result depends on the statistics of its window, and on the mask's borders."""

    def __init__(self, bands, categories):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(bands, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Conv2d(8, categories, 3, 1, 1)
        )

    def forward(self, image):
        return self.layers(image)


@pytest.fixture
def normed(tmp_path, monkeypatch):
    monkeypatch.setitem(networks.__dict__, "NETWORKS", {"normed": Normed})
    more = {"architecture": "normed", "arguments": {}, "halo": 0, "exact": False, "window": 16}
    return make_card(tmp_path, seed=3, dates=SUMMER, fill=0.5, **more)


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_blending_does_not_depend_on_the_chunks(stored, normed, strategy):
    cut = stored.isel(y=slice(0, 40), x=slice(0, 50)).compute()
    whole = predict(cut.compute(), [normed], outputs=LAYERS).compute()
    part = read_part(stored, cut) if strategy == "direct" else cut.chunk(time=2, y=20, x=25)
    found = predict(part, [normed], outputs=LAYERS, strategy=strategy).compute()
    require_same(found, whole, atol=0)


def read_part(stored, cut):
    path = stored["valid"].encoding["glaciercube_source"].path
    return read(path, area=grid.grid_of(cut, "the cut"))


def test_beyond_the_image_masks_and_days_are_0(normed, cube, monkeypatch, tmp_path):
    images = []
    monkeypatch.setattr(
        "glaciercube.infer.runtime_torch.TorchRuntime._forward",
        lambda self, image, inner: images.append(image.clone()) or image[:, :5, inner[0], inner[1]],
    )
    more = {"architecture": "normed", "arguments": {}, "halo": 0, "exact": False, "window": 16}
    for mask in (True, False):
        dates = SUMMER | {"day": True, "mask": mask}
        card = make_card(tmp_path, seed=7 + mask, dates=dates, fill=0.5, **more)
        del images[:]
        predict(cube.isel(y=slice(40, 44), x=slice(60, 64)), [card])["facies"][1].compute()
        per = torch.cat(images).unflatten(1, (3, -1))
        beyond = (per[:, :, :4] == 0.5).all(dim=2)
        assert beyond.any(dim=(0, 2, 3)).all()
        for plane in range(4, per.shape[2]):
            assert (per[:, :, plane][beyond] == 0).all()
        assert sorted(set((365 * per[:, :, -1]).round().flatten().tolist())) == [-30, 0, 10]


def test_beyond_the_image_nothing_was_measured(normed, cube, monkeypatch):
    images = []
    monkeypatch.setattr(
        "glaciercube.infer.runtime_torch.TorchRuntime._forward",
        lambda self, image, inner: images.append(image.clone()) or image[:, :5, inner[0], inner[1]],
    )
    predict(cube.isel(y=slice(40, 44), x=slice(60, 64)), [normed])["facies"][1].compute()
    image = torch.cat(images)
    mask, band = image[:, 4], image[:, 0]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (band[mask == 0] == 0.5).all()


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_eight_views_turn_the_image_and_not_its_dates(stored, summer, strategy):
    options = {"views": 8, "outputs": ("probability", "mutual_information")}
    cube = stored.compute()
    whole = predict(cube, [summer], **options).compute()
    require_same(predict(stored, [summer], strategy=strategy, **options).compute(), whole)
    square = cube.isel(y=slice(0, 64), x=slice(0, 64))
    turned = square.copy(deep=True)
    for name in ("reflectance", "valid"):
        turned[name] = square[name].copy(data=np.swapaxes(square[name].values, -1, -2))
    one, other = (
        predict(data, [summer], **options)["probability"].values for data in (square, turned)
    )
    np.testing.assert_allclose(np.swapaxes(other, -1, -2), one, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_a_region_is_the_whole_cut_to_it(stored, summer, strategy, loads):
    box = grid.grid_of(stored, "the cube")
    (west, north), (east, south) = box.affine * (33.0, 44.0), box.affine * (38.0, 50.0)
    frame = gpd.GeoDataFrame(geometry=[shapely.box(west, south, east, north)], crs=str(box.crs))
    options = {"outputs": LAYERS, "strategy": strategy}
    whole = predict(stored, [summer], **options).compute()
    del loads[:]
    found = predict(stored, [summer], region=region_of(frame, box), **options).compute()
    inside = {"y": slice(44, 50), "x": slice(33, 38)}
    names = list(LAYERS)
    require_same(found[names].isel(inside), whole[names].isel(inside))
    outside = found["facies"].values.copy()
    outside[:, 44:50, 33:38] = 255
    assert (outside == 255).all()
    if strategy == "direct":
        assert {window.shape for name, _, window in loads if name == "reflectance"} == {(12, 11)}


def test_quantized_layers_are_what_a_store_keeps(stored, summer, tmp_path):
    codes = xr.decode_cf(predict(stored, [summer], outputs=LAYERS, quantized=True).compute())
    write(predict(stored, [summer], outputs=LAYERS), tmp_path / "layers.zarr")
    kept = read(tmp_path / "layers.zarr").compute()
    for name in LAYERS:
        values = codes[name].values.astype(kept[name].dtype)
        np.testing.assert_array_equal(values, kept[name].values, err_msg=name)


def test_attributes_say_which_dates_a_network_sees(stored, summer, card):
    told = json.loads(predict(stored, [summer, card]).attrs["cards"])
    assert told[0]["dates"] == dict(summer.dates)
    assert "dates" not in told[1]


def test_dates_outside_the_season_are_told_of(cube, summer, card):
    moved = cube.assign_coords(time=cube["time"].values + np.timedelta64(90, "D"))
    text = (
        "small-facies was trained on dates from 06-01 to 09-30, 4 of 5 dates of the cube lie "
        "outside, the first on 2021-10-30: each of them is seen alone"
    )
    with pytest.warns(GlacierCubeWarning, match=text):
        predict(moved, [summer])


def test_layers_are_made_again_with_the_same_dates(stored, summer, tmp_path):
    layers = api.predict(stored, summer)
    recipe = layers["facies"].encoding["glaciercube_lineage"].recipe
    again = api.predictions.remake(json.loads(json.dumps(recipe)))
    assert again["facies"].data.name == layers["facies"].data.name
