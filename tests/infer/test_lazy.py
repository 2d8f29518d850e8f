import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cloudpickle
import dask
import numpy as np
import pytest
import torch
import xarray as xr
from cards import make_card
from torch import nn

from glaciercube import schema
from glaciercube.errors import GlacierCubeError, SchemaError, WeightsError
from glaciercube.infer import runtimes
from glaciercube.infer.lazy import predict
from glaciercube.model import channels, networks, registry
from glaciercube.store.reading import read, source_of
from glaciercube.store.writing import write

EVERYTHING = tuple(name for name in schema.LAYERS if name != "mutual_information")


def assert_same(found, expected, atol=1e-6):
    """Compare layers: codes and holes exactly, probabilities within float32 rounding."""
    assert set(found.data_vars) == set(expected.data_vars)
    for name in expected.data_vars:
        one, other = found[name].values, expected[name].values
        if one.dtype.kind == "f":
            np.testing.assert_array_equal(np.isnan(one), np.isnan(other), err_msg=name)
            np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)


def by_hand(cube, card, date):
    """Return the categories' probabilities of a whole image by plain torch."""
    network = registry.network_of(card)
    image, measured = channels.stack(cube["reflectance"].values[date], cube["band"].values, card)
    with torch.inference_mode():
        scores = network(torch.from_numpy(image[np.newaxis]))[0]
    return (scores / card.temperature).softmax(0).numpy(), measured


@pytest.fixture
def stored(cube, tmp_path):
    """Return a cube read from a store of blocks of 32 x 40 pixels."""
    write(cube.chunk(time=1, band=-1, y=32, x=40), tmp_path / "cube.zarr")
    return read(tmp_path / "cube.zarr")


# --- contract


def test_layers_fit_the_schema(lazy_cube, card, extent_card):
    out = predict(lazy_cube, [card, extent_card], outputs=EVERYTHING)
    schema.check(out, {name: schema.LAYERS[name] for name in EVERYTHING}, "the layers")
    assert out["probability"].chunks == ((1, 1, 1), (5,), (32, 32, 32), (40, 40))
    assert out["extent"].chunks == lazy_cube["valid"].chunks
    assert out["category"].values.tolist() == list(card.categories)
    assert out["time"].equals(lazy_cube["time"])
    assert out.odc.geobox == lazy_cube.odc.geobox
    computed = out.compute()
    for name in out.data_vars:
        assert computed[name].dtype == out[name].dtype
        assert computed[name].shape == out[name].shape


def test_default_layers_follow_from_the_cards(lazy_cube, card, extent_card):
    own = {"valid", "elevation", "confidence", "valid_fraction"}
    assert set(predict(lazy_cube, [card]).data_vars) == own | {"facies"}
    extent = {"extent", "glacier_probability"}
    assert set(predict(lazy_cube, [extent_card]).data_vars) == own | extent
    assert set(predict(lazy_cube, [extent_card, card]).data_vars) == own | extent | {"facies"}


def test_terrain_and_validity_travel_along_lazily(lazy_cube, card):
    out = predict(lazy_cube, [card])
    for name in ("valid", "elevation"):
        assert out[name].data.name == lazy_cube[name].data.name
        xr.testing.assert_identical(out[name].variable, lazy_cube[name].variable)
    assert "cloud" not in out


def test_attributes_say_what_was_done(lazy_cube, card, extent_card):
    out = predict(lazy_cube.assign_attrs(provenance="[]"), [card, extent_card])
    assert card.sha256 in out.attrs["cards"]
    assert out.attrs["halo"] == 5
    assert out.attrs["level"] == "surface"
    assert out.attrs["provenance"] == "[]"
    assert out["extent"].attrs["flag_meanings"] == "not_glacier glacier nodata"
    ancillary = out["extent"].attrs["ancillary_variables"]
    assert ancillary == "confidence valid_fraction glacier_probability"
    assert out["confidence"].encoding["dtype"] == "uint8"
    assert out["confidence"].encoding["grid_mapping"] == "spatial_ref"
    assert "_FillValue" not in out["facies"].encoding


def test_layers_survive_the_store(lazy_cube, card, extent_card, tmp_path):
    out = predict(lazy_cube, [card, extent_card])
    write(out, tmp_path / "layers.zarr")
    assert_same(read(tmp_path / "layers.zarr"), out.compute(), atol=0.002 + 1e-6)


# --- laziness


def test_stays_lazy_and_needs_no_weights(stored, card, extent_card, no_compute):
    Path(card.weights).unlink()
    Path(extent_card.weights).unlink()
    with no_compute:
        direct = predict(stored, [card, extent_card], strategy="direct")
        overlap = predict(stored, [card, extent_card], strategy="overlap")
    for out in (direct, overlap):
        assert all(out[name].chunks for name in out.data_vars)


def test_building_opens_no_network_framework(stored, tmp_path):
    code = (
        "import sys\n"
        "from glaciercube.infer.lazy import predict\n"
        "from glaciercube.model.zoo import card_of\n"
        "from glaciercube.store.reading import read\n"
        f"card = card_of({str(tmp_path / 'facies-0-8.json')!r})\n"
        f"predict(read({str(tmp_path / 'cube.zarr')!r}), [card])\n"
        "assert 'torch' not in sys.modules\n"
    )
    make_card(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- exactness


@pytest.mark.parametrize(
    "chunks",
    [
        {"y": 32, "x": 40},
        {"y": 20, "x": 33},
        {"y": 96, "x": 16},
        {"y": 11, "x": 80},
        {"time": 2, "y": 50, "x": 27},
        {"time": 3, "band": 1, "y": 48, "x": 40},
    ],
)
def test_tiling_does_not_change_the_result(cube, card, extent_card, chunks):
    whole = predict(cube, [card, extent_card], outputs=EVERYTHING).compute()
    lazy = cube.chunk({"time": 1, "band": -1} | chunks)
    assert_same(predict(lazy, [card, extent_card], outputs=EVERYTHING).compute(), whole)


def test_equals_the_whole_image_in_plain_torch(lazy_cube, card, extent_card):
    out = predict(lazy_cube, [card, extent_card], outputs=EVERYTHING).compute()
    for date in range(3):
        facies, measured = by_hand(lazy_cube, card, date)
        extent, _ = by_hand(lazy_cube, extent_card, date)
        assert 0 < measured.sum() < measured.size
        expected = np.where(measured, facies, np.nan)
        found = out["probability"].values[date]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        codes = np.array([0, 1, 2, 7, 8], np.uint8)[facies.argmax(0)]
        np.testing.assert_array_equal(out["facies"][date], np.where(measured, codes, 255))
        codes = np.array([0, 1, 255], np.uint8)[extent.argmax(0)]
        np.testing.assert_array_equal(out["extent"][date], np.where(measured, codes, 255))
        seen = measured & (codes != 255)
        expected = np.where(seen, extent[1], np.nan)
        found = out["glacier_probability"].values[date]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        lower = np.where(seen, np.minimum(facies.max(0), extent.max(0)), facies.max(0))
        expected = np.where(measured, lower, np.nan)
        np.testing.assert_allclose(out["confidence"].values[date], expected, rtol=0, atol=1e-6)


def test_one_pixel_less_halo_shows_seams(cube, lazy_cube, card):
    whole = predict(cube, [card]).compute()
    narrow = predict(lazy_cube, [card], halo=card.halo - 1)
    assert narrow.attrs["halo"] == card.halo - 1
    assert float(abs(narrow["confidence"] - whole["confidence"]).max()) > 1e-4


def test_a_larger_halo_changes_only_the_share_measured(cube, lazy_cube, card):
    whole = predict(cube, [card]).compute().drop_vars("valid_fraction")
    wide = predict(lazy_cube, [card], halo=9).compute().drop_vars("valid_fraction")
    assert_same(wide, whole)


def test_bands_are_taken_by_name_whatever_their_order(cube, lazy_cube, card):
    reverse = lazy_cube.isel(band=slice(None, None, -1))
    assert_same(predict(reverse, [card]).compute(), predict(cube, [card]).compute())


def test_alternate_bands_are_taken_where_the_first_is_absent(cube, card):
    renamed = cube.sel(band=["green", "red", "nir08", "swir16"])
    same = cube.sel(band=["green", "red", "nir08", "swir16"]).assign_coords(
        band=["green", "red", "nir", "swir16"]
    )
    assert_same(predict(renamed, [card]).compute(), predict(same, [card]).compute())


class Pooled(nn.Module):
    """A network of stride 4 and halo 7 that keeps the size of any input."""

    def __init__(self, bands, categories):
        super().__init__()
        self.first = nn.Conv2d(bands, 4, 3, padding=1)
        self.second = nn.Conv2d(4, categories, 3, padding=1)

    def forward(self, image):
        rows, columns = image.shape[-2:]
        padded = nn.functional.pad(image, (0, -columns % 4, 0, -rows % 4))
        small = self.second(nn.functional.max_pool2d(torch.relu(self.first(padded)), 4))
        return nn.functional.interpolate(small, scale_factor=4)[..., :rows, :columns]


@pytest.fixture
def pooled(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "NETWORKS", {"pooled": Pooled})
    more = {"architecture": "pooled", "arguments": {}, "halo": 8, "stride": 4}
    return make_card(tmp_path, seed=3, **more)


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_windows_of_a_network_with_stride_start_on_its_lattice(cube, tmp_path, pooled, strategy):
    cut = cube.isel(y=slice(0, 93), x=slice(0, 78))
    write(cut.chunk(time=1, band=-1, y=32, x=20), tmp_path / "cut.zarr")
    stored = read(tmp_path / "cut.zarr")
    whole = predict(stored.compute(), [pooled]).compute()
    tiled = predict(stored, [pooled], strategy=strategy)
    assert tiled.attrs["halo"] == 8
    assert_same(tiled.compute(), whole)


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
@pytest.mark.parametrize("halo", [None, 9])
def test_chunks_off_the_lattice_do_not_change_the_result(cube, tmp_path, pooled, strategy, halo):
    cut = cube.isel(y=slice(0, 93), x=slice(0, 78))
    write(cut.chunk(time=1, band=-1, y=34, x=30), tmp_path / "odd.zarr")
    odd = read(tmp_path / "odd.zarr")
    whole = predict(odd.compute(), [pooled], halo=halo).compute()
    assert_same(predict(odd, [pooled], halo=halo, strategy=strategy).compute(), whole)


# --- strategies


def test_direct_read_equals_overlap(stored, card, extent_card):
    cards = [card, extent_card]
    assert strategy_of(predict(stored, cards)) == "direct"
    direct = predict(stored, cards, outputs=EVERYTHING, strategy="direct").compute()
    overlap = predict(stored, cards, outputs=EVERYTHING, strategy="overlap").compute()
    assert_same(direct, overlap)
    assert len(np.unique(direct["facies"])) > 2
    assert len(np.unique(direct["extent"])) > 2


def test_a_part_of_a_store_is_read_directly(stored, card, tmp_path):
    bands = ["swir16", "nir", "red", "green"]
    area = stored.isel(y=slice(10, 80), x=slice(5, 75)).odc.geobox
    part = read(tmp_path / "cube.zarr", area=area, time=slice("2022", None), bands=bands)
    assert part["valid"].chunks == ((1, 1), (22, 32, 16), (35, 35))
    out = predict(part, [card], strategy="direct").compute()
    assert_same(out, predict(part.compute(), [card]).compute())


CHANGES = {
    "scaled": lambda cube: cube.assign(
        reflectance=(cube["reflectance"] * 0.5).assign_attrs(units="1").astype("float32")
    ),
    "first dates": lambda cube: cube.isel(time=slice(0, 2)),
    "columns": lambda cube: cube.isel(x=slice(3, 77)),
    "clear only": lambda cube: cube.assign(valid=cube["valid"] & ~cube["cloud"]).assign(
        valid=lambda ds: ds["valid"].assign_attrs(units="1")
    ),
    "masked": lambda cube: cube.assign(reflectance=cube["reflectance"].where(~cube["cloud"])),
    "sorted": lambda cube: cube.sortby("time", ascending=False),
    "bands": lambda cube: cube.sel(band=["nir", "green", "swir16", "red"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_cube_is_never_read_past_the_change(stored, card, change):
    changed = change(stored)
    proofs = [source_of(changed[name]) is None for name in ("reflectance", "valid")]
    assert any(proofs)
    out = predict(changed, [card])
    assert strategy_of(out) == "overlap"
    assert_same(out.compute(), predict(change(stored.compute()), [card]).compute())
    with pytest.raises(SchemaError, match=r"'direct' needs a cube exactly as read\(\) gave it"):
        predict(changed, [card], strategy="direct")


def strategy_of(out):
    """Return what the graph does: only overlap joins the cube's own chunks."""
    joined = [name for name in out["facies"].data.dask.layers if name.startswith("measured-")]
    return "overlap" if joined else "direct"


def test_strategy_is_named_right(lazy_cube, card):
    with pytest.raises(SchemaError, match="'auto', 'direct' or 'overlap', found 'fast'"):
        predict(lazy_cube, [card], strategy="fast")


# --- the graph


def test_direct_read_is_one_task_per_block(stored, card, extent_card):
    out = predict(stored, [card, extent_card])
    blocks = out["facies"].data.npartitions
    assert blocks == 18
    graph = dict(out["facies"].data.__dask_graph__())
    stacked = [key for key in graph if str(key[0]).startswith("predict-")]
    shared = [key for key in graph if str(key).startswith("work-")]
    slices = [key for key in graph if str(key[0]).startswith("facies-")]
    assert (len(stacked), len(shared), len(slices)) == (blocks, 1, blocks)
    assert len(graph) == 2 * blocks + 1


def test_overlap_has_few_tasks_per_block(lazy_cube, card):
    out = predict(lazy_cube, [card])
    own = len(dict(out["facies"].data.__dask_graph__())) - 2 * len(lazy_cube["valid"].data.dask)
    assert own / out["facies"].data.npartitions < 17


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_tasks_do_not_grow_with_the_network(stored, tmp_path, strategy):
    sizes = {}
    for width in (8, 256):
        card = make_card(tmp_path, width=width)
        graph = dict(predict(stored, [card], strategy=strategy)["facies"].data.__dask_graph__())
        sizes[width] = [len(cloudpickle.dumps(task)) for task in graph.values()]
        assert max(sizes[width]) < 4096
    assert Path(card.weights).stat().st_size > 1e6
    assert abs(sum(sizes[8]) - sum(sizes[256])) < 0.01 * sum(sizes[8])


def test_names_are_a_function_of_the_content(stored, card, tmp_path):
    other = make_card(tmp_path, seed=7)
    names = {
        "same": predict(stored, [card])["facies"].data.name,
        "again": predict(stored, [replace(card, training={"steps": 3})])["facies"].data.name,
        "weights": predict(stored, [other])["facies"].data.name,
        "halo": predict(stored, [card], halo=4)["facies"].data.name,
        "temperature": predict(stored, [replace(card, temperature=2.0)])["facies"].data.name,
        "outputs": predict(stored, [card], outputs=["facies"])["facies"].data.name,
        "cube": predict(stored.isel(time=[0]), [card])["facies"].data.name,
    }
    assert names["same"] == names.pop("again")
    assert len(set(names.values())) == len(names)


def test_names_are_the_same_in_another_process(cube, card, tmp_path, stored):
    with (tmp_path / "cube.pickle").open("wb") as file:
        pickle.dump(cube.drop_encoding(), file)
    code = (
        "import pickle\n"
        "from glaciercube.infer.lazy import predict\n"
        "from glaciercube.model.card import read_card\n"
        "from glaciercube.store.reading import read\n"
        f"cards = [read_card({str(tmp_path / 'facies-0-8.json')!r})]\n"
        f"with open({str(tmp_path / 'cube.pickle')!r}, 'rb') as file:\n"
        "    cube = pickle.load(file)\n"
        "print(predict(cube, cards)['facies'].data.name)\n"
        f"print(predict(read({str(tmp_path / 'cube.zarr')!r}), cards)['facies'].data.name)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    here = [predict(data, [card])["facies"].data.name for data in (cube, stored)]
    assert done.stdout.split() == here


# --- computing


def test_several_layers_run_each_block_once(stored, card, forwards):
    out = predict(stored, [card], outputs=("facies", "confidence", "entropy", "probability"))
    dask.compute(out["facies"], out["confidence"], out["probability"])
    assert len(forwards) == 18


def test_blocks_without_a_measured_pixel_skip_the_network(cube, card, forwards, tmp_path):
    cube["valid"][0, :64] = False
    cube["reflectance"][1, :, :, 40:] = np.nan
    write(cube.chunk(time=1, band=-1, y=32, x=40), tmp_path / "holes.zarr")
    for strategy in ("direct", "overlap"):
        forwards.clear()
        out = predict(read(tmp_path / "holes.zarr"), [card], strategy=strategy).compute()
        assert len(forwards) == 18 - 4 - 3
        assert (out["facies"][0, :64] == 255).all()
        assert out["confidence"][1, :, 40:].isnull().all()
        assert out["valid_fraction"][1, :, 40:].isnull().all()
        assert (out["facies"][1, 20:, :40] != 255).all()


def test_a_pixel_without_one_needed_band_is_nodata(cube, card):
    cube["reflectance"].loc[{"band": "swir16"}][0, 50, 60] = np.nan
    cube["reflectance"].loc[{"band": "blue"}][0, 50, 61] = np.nan
    out = predict(cube, [card]).compute()
    assert out["facies"][0, 50, 60] == 255
    assert np.isnan(out["confidence"][0, 50, 60])
    assert out["facies"][0, 50, 61] != 255


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_any_scheduler_gives_the_same(stored, card, scheduler):
    expected = predict(stored, [card]).compute(scheduler="synchronous")
    assert_same(predict(stored, [card]).compute(scheduler=scheduler), expected)


def test_a_cluster_gives_the_same(stored, card):
    distributed = pytest.importorskip("distributed")
    expected = predict(stored, [card]).compute(scheduler="synchronous")
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 2}
    with (
        distributed.LocalCluster(**options, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        assert_same(predict(stored, [card]).compute(), expected)


# --- errors


def test_an_error_in_a_block_says_where(stored, card, monkeypatch):
    monkeypatch.setattr(registry, "_networks", {})
    monkeypatch.setattr(runtimes, "_runtimes", {})
    out = predict(stored, [card])
    Path(card.weights).unlink()
    with pytest.raises(
        WeightsError,
        match=r"infer.predict failed on time 2021-08-01, y 0-32, x 40-80: .*no such file",
    ) as caught:
        out["facies"][:1, :32, 40:].compute(scheduler="synchronous")
    assert isinstance(caught.value.__cause__, WeightsError)


def test_an_unexpected_error_in_a_block_says_where_too(lazy_cube, card, monkeypatch):
    def broken(ref):
        raise MemoryError("no room for 3 GB")

    monkeypatch.setattr(runtimes, "runtime_of", broken)
    at_noon = lazy_cube.assign_coords(time=lazy_cube["time"] + np.timedelta64(12, "h"))
    out = predict(at_noon, [card])["facies"]
    where = "time 2022-08-05T12:00:00, y 64-96, x 0-40: MemoryError: no room for 3 GB"
    with pytest.raises(GlacierCubeError, match=where) as caught:
        out[1:2, 64:, :40].compute(scheduler="synchronous")
    assert isinstance(caught.value.__cause__, MemoryError)


class Cropped(nn.Conv2d):
    """A network that loses its borders."""

    def __init__(self, bands, categories):
        super().__init__(bands, categories, 3)


def test_a_network_of_another_output_size_is_refused(lazy_cube, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "NETWORKS", {"cropped": Cropped})
    card = make_card(tmp_path, seed=5, architecture="cropped", arguments={}, halo=1)
    with pytest.raises(WeightsError, match=r"must give scores of shape \(1, 5, .*found \(1, 5,"):
        predict(lazy_cube, [card])["facies"].compute()


def test_chunks_smaller_than_the_halo_are_refused(cube, card):
    with pytest.raises(
        SchemaError, match=r"along y must have at least the halo of 3 .*\(50, 44, 2\)"
    ):
        predict(cube.chunk(time=1, band=-1, y=(50, 44, 2), x=40), [card])
    with pytest.raises(SchemaError, match="along x .* write the cube and read it again"):
        predict(cube.chunk(time=1, band=-1, y=96, x=2), [card])


def test_an_image_smaller_than_the_halo_is_one_block(cube, card):
    small = cube.isel(y=slice(20, 22), x=slice(20, 21))
    out = predict(small.chunk(time=1, band=-1, y=2, x=1), [card]).compute()
    assert_same(out, predict(small, [card]).compute())
