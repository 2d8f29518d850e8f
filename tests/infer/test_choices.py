"""Which runtime is chosen, and when: measured, compared with float32, kept with a store."""

from dataclasses import replace

import dask
import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from cards import make_card

from glaciercube import grid
from glaciercube.cover.regions import region_of
from glaciercube.errors import StoreError, WeightsError
from glaciercube.infer import choices, lazy, runtimes, settling
from glaciercube.infer.choices import AUTO, Choice, Sample, adopted, chosen, known
from glaciercube.infer.layers import networks_of
from glaciercube.infer.lazy import predict
from glaciercube.infer.reads import Read
from glaciercube.store import ledger
from glaciercube.store.appending import append
from glaciercube.store.making import MAKING
from glaciercube.store.places import Directory
from glaciercube.store.reading import Source, read
from glaciercube.store.verification import verify
from glaciercube.store.writing import write
from glaciercube.windows import Window

BFLOAT16 = "torch-bfloat16"


class Pretended:
    """Sees the first class everywhere; in bfloat16 another one in the first pixels."""

    def __init__(self, ref, wrong):
        self.categories = len(ref.card.categories)
        self.wrong = wrong if ref.precision == "bfloat16" else 0

    def scores(self, images, inner):
        found = np.zeros((len(images), self.categories, *images.shape[2:]), np.float32)
        found[:, 0] = 1
        found[:, 1].reshape(len(images), -1)[:, : self.wrong] = 2
        return np.ascontiguousarray(found[:, :, inner[0], inner[1]])


@pytest.fixture
def machine(monkeypatch):
    """Return what a pretended machine is like; `wrong` pixels of a tile differ in bfloat16."""
    told = {"wrong": 0, "seconds": {"torch": 2.0, BFLOAT16: 1.0}, "measured": 0}

    def seconds(card, name, image):
        told["measured"] += 1
        return told["seconds"][name]

    monkeypatch.setattr(runtimes, "runtime_of", lambda ref: Pretended(ref, told["wrong"]))
    monkeypatch.setattr(runtimes, "candidates", lambda card: ("torch", BFLOAT16))
    monkeypatch.setattr(choices, "_seconds", seconds)
    monkeypatch.setattr(choices, "SMALL", 1)
    monkeypatch.setattr(choices, "PIXELS", 1000)
    monkeypatch.setattr(settling, "_chosen", {})
    return told


@pytest.fixture
def stored(cube, tmp_path):
    write(cube.chunk(time=1, band=-1, y=34, x=40), tmp_path / "cube.zarr")
    return read(tmp_path / "cube.zarr")


def samples(card):
    generator = np.random.default_rng(0)
    image = generator.normal(size=(4, 100, 100)).astype(np.float32)
    yield Sample(image, np.ones((100, 100), bool))
    yield Sample(image[:, :50], np.arange(5000).reshape(50, 100) >= 2500)


@pytest.mark.parametrize(
    ("wrong", "seconds", "expected"),
    [
        (0, 1.0, Choice(BFLOAT16, 1.0, 12_500)),
        (12, 1.0, Choice(BFLOAT16, 0.99904, 12_500)),
        (13, 1.0, Choice("torch")),
        (0, 3.0, Choice("torch")),
    ],
)
def test_the_fastest_that_agrees_is_taken(card, machine, wrong, seconds, expected):
    machine["wrong"], machine["seconds"][BFLOAT16] = wrong, seconds
    found = chosen(AUTO, [card, card], samples)
    assert found == (expected, expected)


def test_pixels_that_were_not_measured_do_not_count(card, machine):
    machine["wrong"] = 2400
    half = [one for one in samples(card) if not one.measured.all()]
    assert chosen(AUTO, [card], lambda card: half) == (Choice(BFLOAT16, 1.0, 2500),)


def test_a_name_is_taken_only_if_it_agrees(card, machine):
    machine["wrong"] = 12
    assert chosen(BFLOAT16, [card], samples) == (Choice(BFLOAT16, 0.99904, 12_500),)
    machine["wrong"] = 13
    with pytest.raises(WeightsError, match=r"99.896 % of 12500 pixels.*needs 99.9 %.*'auto'"):
        chosen(BFLOAT16, [card], samples)


def test_too_few_pixels_prove_nothing(card, machine):
    assert chosen(AUTO, [card], lambda card: []) == (Choice("torch"),)
    assert chosen(BFLOAT16, [card], lambda card: []) == (Choice(BFLOAT16),)
    assert machine["measured"] == 0


def test_time_is_measured_after_a_first_run(card, monkeypatch):
    shapes = []

    class Counted:
        def scores(self, images, inner):
            shapes.append(images.shape)
            return np.zeros((1, 5, *images.shape[2:]), np.float32)

    monkeypatch.setattr(runtimes, "runtime_of", lambda ref: Counted())
    monkeypatch.setattr(runtimes, "candidates", lambda card: ("torch", BFLOAT16))
    chosen(AUTO, [card], samples)
    assert shapes.count((1, 4, 100, 100)) == 2 * (1 + 2)
    assert shapes.count((1, 4, 50, 100)) == 2


def test_networks_that_were_only_tried_are_dropped(card, monkeypatch):
    monkeypatch.setattr(runtimes, "_runtimes", {})
    monkeypatch.setattr(runtimes, "candidates", lambda card: ("torch", "torch-eager"))
    monkeypatch.setattr(choices, "PIXELS", 1)
    monkeypatch.setattr(choices, "_seconds", lambda card, name, image: len(name))
    assert chosen(AUTO, [card], samples) == (Choice("torch"),)
    assert list(runtimes._runtimes) == [(*runtimes.ref_for(card, "torch").key, "")]


def test_what_needs_no_measuring(card):
    assert known(AUTO, [card, card], choices.SMALL - 1) == (Choice("torch"), Choice("torch"))
    assert known(AUTO, [card], choices.SMALL) is None
    assert known("torch-eager", [card], 10**12) == (Choice("torch-eager"),)
    assert known(BFLOAT16, [card], 1) is None
    assert known([Choice(BFLOAT16, 0.9995, 7)], [card], 1) == (Choice(BFLOAT16, 0.9995, 7),)


def test_a_store_is_gone_on_with_as_it_was_begun():
    told = [Choice(BFLOAT16, 0.9995, 7).record(), Choice("torch").record()]
    both = (Choice(BFLOAT16, 0.9995, 7), Choice("torch"))
    assert adopted(told, AUTO) == both
    assert adopted(told, BFLOAT16) is None
    assert adopted(told[:1], BFLOAT16) == both[:1]
    assert adopted([{"runtime": "new", "precision": "int2"}], AUTO) is None
    assert adopted([], AUTO) is None


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_in_memory_it_is_chosen_once_before_the_first_block(
    stored, card, machine, no_compute, strategy, forwards
):
    with no_compute:
        layers = predict(stored, [card], strategy=strategy)
    assert layers.attrs["runtime"] == AUTO
    found = layers[["facies", "confidence"]].compute()
    assert machine["measured"] == 2
    layers["valid_fraction"].compute()
    assert machine["measured"] == 2  # once in a process
    named = predict(stored, [card], strategy=strategy, runtime=[Choice(BFLOAT16)])
    xr.testing.assert_equal(found, named[["facies", "confidence"]].compute())


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_a_store_says_what_was_chosen(stored, card, machine, tmp_path, strategy):
    machine["wrong"] = 1
    write(predict(stored, [card], strategy=strategy), tmp_path / "layers.zarr")
    header = ledger.read_header(Directory(tmp_path / "layers.zarr"))
    (network,) = header.identity["variables"]["facies"]["parameters"]["networks"]
    assert (network["runtime"], network["precision"]) == ("torch", "bfloat16")
    assert 0.999 < network["agreement"] < 1
    attrs = read(tmp_path / "layers.zarr").attrs
    assert attrs["runtime"] == BFLOAT16
    (told,) = networks_of(attrs)
    assert (told["agreement"], told["pixels"]) == (network["agreement"], network["pixels"])
    assert network["pixels"] > 1000


def test_attributes_that_anybody_changed_say_nothing():
    assert networks_of({}) == networks_of({"cards": "no JSON"}) == networks_of({"cards": 3}) == []
    assert networks_of({"cards": "[1]"}) == networks_of({"cards": "{}"}) == []


def test_another_machine_goes_on_with_what_was_chosen(stored, card, machine, tmp_path):
    layers = predict(stored, [card])
    write(layers, tmp_path / "layers.zarr")
    machine |= {"wrong": 500, "seconds": {"torch": 1.0, BFLOAT16: 9.0}, "measured": 0}
    for shard in (tmp_path / "layers.zarr" / "facies" / "c").rglob("0"):
        if shard.is_file():
            shard.unlink()
    settling._chosen.clear()
    report = verify(tmp_path / "layers.zarr", repair=predict(stored, [card]))
    assert report.repaired > 0
    assert write(predict(stored, [card]), tmp_path / "layers.zarr").skipped > 0
    assert machine["measured"] == 0


def test_a_smaller_cube_is_appended_as_the_store_was_begun(
    stored, card, machine, tmp_path, monkeypatch
):
    # a part of a cube is not known to be of a store: the attributes tell what was chosen
    first, rest = stored.isel(time=slice(0, 1)), stored.isel(time=slice(1, None))
    append(predict(first, [card]), tmp_path / "layers.zarr")
    monkeypatch.setattr(choices, "SMALL", 10**12)  # what is appended would take float32
    append(predict(rest, [card]), tmp_path / "layers.zarr")
    assert read(tmp_path / "layers.zarr").attrs["runtime"] == BFLOAT16
    assert read(tmp_path / "layers.zarr").sizes["time"] == 3


def test_another_runtime_than_the_stores_is_refused_unmeasured(stored, card, machine, tmp_path):
    write(predict(stored, [card], runtime="torch"), tmp_path / "layers.zarr")
    with pytest.raises(StoreError, match=r"networks .*float32.*in the store.*bfloat16"):
        write(predict(stored, [card], runtime=BFLOAT16), tmp_path / "layers.zarr")
    write(predict(stored, [card]), tmp_path / "layers.zarr")
    with pytest.raises(StoreError, match=r"networks"):
        write(predict(stored, [card, replace(card, fill=1.0)]), tmp_path / "layers.zarr")
    assert machine["measured"] == 0


def test_an_overwrite_chooses_anew(stored, card, machine, tmp_path):
    write(predict(stored, [card], runtime="torch"), tmp_path / "layers.zarr")
    write(predict(stored, [card]), tmp_path / "layers.zarr", overwrite=True)
    assert read(tmp_path / "layers.zarr").attrs["runtime"] == BFLOAT16


def test_only_what_is_of_interest_is_looked_at(stored, card, machine, tmp_path, monkeypatch):
    geobox = grid.grid_of(stored, "the cube")
    box = shapely.box(600_350, 5_000_100, 600_700, 5_000_500)
    region = region_of(gpd.GeoDataFrame(geometry=[box], crs="EPSG:32632"), geobox)
    loads, original = [], Source.load

    def loading(source, date, window):
        loads.append((source.variable, window))
        return original(source, date, window)

    monkeypatch.setattr(Source, "load", loading)
    left = predict(stored, [card], region=region)["facies"].encoding[MAKING]
    (found,) = left.choose.default.compute()
    assert found.pixels == 3 * 35 * 40
    assert all(region.touches(window) for _, window in loads)
    assert len([name for name, _ in loads if name == "reflectance"]) == 3 * 2 * 2


def test_blocks_that_are_looked_at_are_spread_and_few(stored, card, monkeypatch):
    work = predict_work(stored, [card], monkeypatch)
    assert len(settling._spread(work, 100)) == 3 * 3 * 2
    some = settling._spread(work, 4)
    assert some == settling._spread(work, 4)
    assert len({time for time, *_ in some}) == 3
    assert len({column for *_, column in some}) == 2


def predict_work(cube, cards, monkeypatch):
    """Return the work of a prediction."""
    seen = []
    monkeypatch.setattr(lazy, "shared_of", lambda work, *more: seen.append(work) or dask.delayed(1))
    predict(cube, cards)
    return seen[0]


def test_a_network_of_fixed_windows_is_compared_on_such(card, stored, monkeypatch):
    work = predict_work(stored, [card], monkeypatch)
    fixed = replace(card, window=64, exact=False, fill=2.0)
    window = Window(0, 34, 0, 80)
    read = Read.of(np.full((4, 34, 80), 0.5, np.float32), np.True_, window)
    (tile,) = settling.seen_in([(window, read, np.ones((34, 80), bool))], work, fixed)
    assert tile.image.shape == (4, 64, 64)
    assert (tile.image[:, 34:] == 2.0).all()
    assert (tile.measured.sum(), tile.measured[:34].all()) == (34 * 64, True)


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_a_network_of_several_dates_is_compared_on_such(
    stored, machine, tmp_path, strategy, monkeypatch
):
    card = make_card(tmp_path, dates={"count": 3, "mask": True}, seed=5)
    seen = []
    original = choices.chosen

    def chosen(runtime, cards, samples):
        seen.extend(samples(cards[0]))
        return original(runtime, cards, samples)

    monkeypatch.setattr(choices, "chosen", chosen)
    found = predict(stored, [card], strategy=strategy)["facies"].compute()
    assert {tile.image.shape[0] for tile in seen} == {3 * 5}
    assert all((tile.image[5 + 4][tile.measured] == 1).all() for tile in seen)
    assert any((tile.image[4] == 0).all() for tile in seen)  # the first date sees none before it
    assert any((tile.image[4] == 1).any() for tile in seen)
    named = predict(stored, [card], strategy=strategy, runtime=[Choice(BFLOAT16)])
    xr.testing.assert_equal(found, named["facies"].compute())
