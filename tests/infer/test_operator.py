"""What the operator promises beyond a single exact network: views, ensembles, blending, regions."""

from dataclasses import replace

import cloudpickle
import dask
import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from cards import make_card
from torch import nn

from glaciercube import grid
from glaciercube.cover.regions import region_of
from glaciercube.errors import SchemaError, StoreError, WeightsError
from glaciercube.infer.lazy import predict
from glaciercube.model import networks
from glaciercube.store import blocks, filling
from glaciercube.store.places import Directory
from glaciercube.store.planning import plan_of
from glaciercube.store.reading import Source, read
from glaciercube.store.verification import verify
from glaciercube.store.writing import write

LAYERS = ("facies", "confidence", "entropy", "probability", "valid_fraction")


class Strided(nn.Module):
    """A network of stride 4, halo 8, that sees left and right differently."""

    def __init__(self, bands, categories):
        super().__init__()
        self.first = nn.Conv2d(bands, 4, 3, padding=1)
        self.second = nn.Conv2d(4, categories, 3, padding=1)

    def forward(self, image):
        rows, columns = image.shape[-2:]
        padded = nn.functional.pad(image, (0, -columns % 4, 0, -rows % 4))
        small = self.second(nn.functional.max_pool2d(self.first(padded).relu(), 4))
        return nn.functional.interpolate(small, scale_factor=4)[..., :rows, :columns]


class Normed(nn.Module):
    """A network whose result depends on the statistics of its window."""

    def __init__(self, bands, categories):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(bands, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Conv2d(8, categories, 3, 1, 1)
        )

    def forward(self, image):
        return self.layers(image)


@pytest.fixture
def strided(tmp_path, monkeypatch):
    monkeypatch.setitem(networks.__dict__, "NETWORKS", {"strided": Strided})
    more = {"architecture": "strided", "arguments": {}, "halo": 8, "stride": 4}
    return make_card(tmp_path, seed=3, **more)


@pytest.fixture
def normed(tmp_path, monkeypatch):
    monkeypatch.setitem(networks.__dict__, "NETWORKS", {"normed": Normed})
    more = {"architecture": "normed", "arguments": {}, "halo": 0, "exact": False, "window": 16}
    return make_card(tmp_path, seed=3, **more)


@pytest.fixture
def stored(cube, tmp_path):
    """Return a cube whose sides are no multiples of its blocks, read from a store."""
    cut = cube.isel(y=slice(0, 93), x=slice(0, 78))
    write(cut.chunk(time=1, band=-1, y=34, x=40), tmp_path / "cube.zarr")
    return read(tmp_path / "cube.zarr")


def require_same(found, expected, atol=1e-6):
    for name in expected.data_vars:
        one, other = found[name].values, expected[name].values
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)


# --- views


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_eight_views_tile_as_the_whole_image(stored, strided, strategy):
    options = {"views": 8, "outputs": (*LAYERS, "mutual_information")}
    whole = predict(stored.compute(), [strided], **options).compute()
    require_same(predict(stored, [strided], strategy=strategy, **options).compute(), whole)
    once = predict(stored.compute(), [strided], outputs=("probability",)).compute()
    assert float(abs(whole["probability"] - once["probability"]).max()) > 1e-3
    assert float(whole["mutual_information"].max()) > 0


def test_eight_views_of_a_turned_image_are_the_same(cube, strided):
    square = cube.isel(y=slice(0, 64), x=slice(0, 64))
    turned = square.copy(deep=True)
    for name in ("reflectance", "valid"):
        turned[name] = square[name].copy(data=square[name].values[..., ::-1, :])
    options = {"views": 8, "outputs": ("probability",)}
    one = predict(square, [strided], **options)["probability"].values
    other = predict(turned, [strided], **options)["probability"].values
    np.testing.assert_allclose(other[..., ::-1, :], one, rtol=0, atol=1e-6)


def test_views_are_one_or_eight(cube, card):
    with pytest.raises(SchemaError, match="views must be 1 or 8, found 4"):
        predict(cube, [card], views=4)


# --- ensembles


def test_an_ensemble_needs_the_same_categories(cube, card, tmp_path):
    other = make_card(tmp_path, seed=8, categories=("snow", "ice", "debris", "cloud", "land"))
    with pytest.raises(WeightsError, match="need the same categories in the same order"):
        predict(cube, [card, other])


def test_disagreement_is_asked_of_several_members_only(cube, card):
    with pytest.raises(SchemaError, match=r"give \[.*\]; outputs has \['mutual_information'\]"):
        predict(cube, [card], outputs=["mutual_information"])


# --- networks that cannot be tiled exactly


@pytest.mark.parametrize("chunks", [{"y": 31, "x": 78}, {"y": 93, "x": 20}, {"y": 31, "x": 39}])
def test_blending_does_not_depend_on_the_chunks(stored, normed, chunks):
    cut = stored.compute()
    whole = predict(cut, [normed], outputs=LAYERS).compute()
    require_same(predict(stored, [normed], outputs=LAYERS).compute(), whole, atol=0)
    lazy = cut.chunk({"time": 1, "band": -1, **chunks})
    require_same(predict(lazy, [normed], outputs=LAYERS).compute(), whole, atol=0)
    assert len(np.unique(whole["facies"])) > 2


def test_blended_cubes_that_overlap_agree(cube, normed):
    one = predict(cube.isel(y=slice(0, 70)), [normed], outputs=LAYERS).compute()
    other = predict(cube.isel(y=slice(13, 96), x=slice(5, 80)), [normed], outputs=LAYERS).compute()
    y, x = slice(13 + 15, 70 - 15), slice(5 + 15, 80)
    same = other.isel(y=slice(15, 15 + 27), x=slice(15, 75)).drop_vars("valid_fraction")
    require_same(one.isel(y=y, x=x).drop_vars("valid_fraction"), same, atol=0)


# --- regions of interest


@pytest.fixture
def region(stored):
    box = grid.grid_of(stored, "the cube")
    corner = box.affine * (3.0, 4.0), box.affine * (20.0, 30.0)
    (west, north), (east, south) = corner
    frame = gpd.GeoDataFrame(geometry=[shapely.box(west, south, east, north)], crs=str(box.crs))
    return region_of(frame, box)


def within(layers, mask):
    nothing = {"facies": 255}
    return layers.map(
        lambda layer: (
            layer.where(mask, nothing.get(layer.name, np.nan)).astype(layer.dtype)
            if layer.dims[-2:] == ("y", "x")
            else layer
        )
    )


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_a_region_is_the_whole_cut_to_it(stored, card, region, strategy):
    options = {"outputs": LAYERS, "strategy": strategy}
    found = predict(stored, [card], region=region, **options).compute()
    mask = np.zeros((93, 78), bool)
    mask[4:30, 3:20] = True
    np.testing.assert_array_equal(found["valid"], stored["valid"].values & mask)
    whole = predict(stored, [card], **options).compute().drop_vars(["valid", "elevation"])
    mask = xr.DataArray(mask, dims=("y", "x"))
    require_same(found.drop_vars(["valid", "elevation"]), within(whole, mask))


def test_outside_a_region_nothing_is_read_or_computed(stored, card, region, forwards, monkeypatch):
    seen = []
    original = Source.load

    def load(self, time, window):
        seen.append((self.variable, window))
        return original(self, time, window)

    monkeypatch.setattr(Source, "load", load)
    predict(stored, [card], region=region, outputs=["facies"])["facies"].compute()
    assert len(forwards) == 3
    bands = [window for variable, window in seen if variable == "reflectance"]
    assert len(bands) == 3
    assert {window.shape for window in bands} == {(26 + 6, 17 + 6)}
    assert len(seen) == 6


def test_blocks_outside_a_region_have_no_task_when_written(stored, card, region, tmp_path):
    layers = predict(stored, [card], region=region).drop_vars("elevation")
    run = []
    original = filling.Filling._compute
    count = lambda self, part: (run.append(len(part.keys)), original(self, part))  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling.Filling, "_compute", count)
        report = write(layers, tmp_path / "layers.zarr")
    assert run == [3]
    assert (report.blocks, report.written, report.empty) == (18, 3, 15)
    assert verify(tmp_path / "layers.zarr").sound
    require_same(read(tmp_path / "layers.zarr").compute(), layers.compute(), atol=0.0021)
    assert write(layers, tmp_path / "layers.zarr").skipped == 18


# --- outputs


def test_quantized_layers_are_what_a_store_keeps(stored, card, tmp_path):
    codes = predict(stored, [card], outputs=LAYERS, quantized=True)
    assert {str(codes[name].dtype) for name in LAYERS} == {"uint8"}
    write(predict(stored, [card], outputs=LAYERS), tmp_path / "layers.zarr")
    kept = read(tmp_path / "layers.zarr").compute()
    decoded = xr.decode_cf(codes.compute())
    for name in LAYERS:
        values = decoded[name].values.astype(kept[name].dtype)
        np.testing.assert_array_equal(values, kept[name].values, err_msg=name)


def test_writing_is_one_small_task_per_block(stored, card, extent_card, tmp_path, forwards):
    layers = predict(stored, [card, extent_card]).drop_vars("elevation")
    plan = plan_of(layers)
    path = tmp_path / "layers.zarr"
    write(layers, path)
    assert len(forwards) == 2 * 18
    made = plan.fingerprints()
    lattice = blocks.lattice_of(plan, Directory(path), True, made)
    every = plan.header.layout.blocks(temporal=True)
    work = blocks.Work([lattice], every)
    shared = [key for key in work._graph if isinstance(key, str)]
    assert len(work._graph) - len(shared) == len(every) == 18
    assert len(shared) == 1
    sizes = [len(cloudpickle.dumps(work._graph[key])) for key in work._graph if key not in shared]
    assert max(sizes) < 4096


def test_layers_of_a_cube_of_unknown_origin_are_written_from_one_pass(
    cube, card, tmp_path, forwards
):
    layers = predict(cube.chunk(time=1, band=-1, y=34, x=40), [card], outputs=LAYERS)
    assert not plan_of(layers).lineages
    write(layers, tmp_path / "layers.zarr")
    assert len(forwards) == 3 * 3 * 2
    require_same(read(tmp_path / "layers.zarr").compute(), layers.compute(), atol=0.0021)


def test_codes_written_are_those_of_the_values(stored, card, tmp_path):
    layers = predict(stored, [card], outputs=LAYERS)
    write(layers, tmp_path / "fused.zarr")
    apart = layers.map(lambda layer: layer.drop_attrs(deep=False).assign_attrs(layer.attrs))
    apart = apart.map(lambda layer: layer.copy(data=layer.data + layer.dtype.type(0)))
    apart = apart.assign_attrs(layers.attrs)
    write(grid.georeferenced(apart, grid.grid_of(layers, "the layers")), tmp_path / "apart.zarr")
    one, other = read(tmp_path / "fused.zarr"), read(tmp_path / "apart.zarr")
    for name in LAYERS:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


def test_each_output_is_computed_from_one_pass(stored, card, forwards):
    out = predict(stored, [card], outputs=LAYERS)
    dask.compute([out[name] for name in LAYERS])
    assert len(forwards) == 18


def test_fill_is_what_a_network_sees_where_nothing_was_measured(cube, card):
    zero = predict(cube, [card], outputs=["confidence"]).compute()
    other = predict(cube, [replace(card, fill=1.5)], outputs=["confidence"]).compute()
    differing = np.nan_to_num(abs(other["confidence"] - zero["confidence"]))
    assert 0 < (differing > 1e-6).mean() < 0.5


def test_another_runtime_is_another_store(stored, card, tmp_path):
    write(predict(stored, [card]), tmp_path / "layers.zarr")
    eager = predict(stored, [card], runtime="torch-eager")
    require_same(eager.compute(), predict(stored, [card]).compute(), atol=1e-5)
    with pytest.raises(StoreError, match="runtime.*torch-eager"):
        write(eager, tmp_path / "layers.zarr")


def test_a_runtime_has_a_known_name(stored, card):
    with pytest.raises(WeightsError, match=r"one of \['auto', 'torch', .* found 'fast'"):
        predict(stored, [card], runtime="fast")
