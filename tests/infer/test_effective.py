"""The effective halo: small, measured on the user's own cube, and the same whenever asked for."""

import warnings

import dask
import geopandas as gpd
import numpy as np
import pytest
import shapely
from cards import make_card
from conftest import make_cube
from scipy import stats

import glaciercube as gcube
from glaciercube import api, schema
from glaciercube.cover.regions import region_of
from glaciercube.errors import GlacierCubeWarning, SchemaError, StoreError, WeightsError
from glaciercube.infer import effective, runtimes, strips
from glaciercube.infer.effective import halos_to_try, upper_bound
from glaciercube.infer.halos import EffectiveHalo, of_attrs
from glaciercube.infer.lazy import predict
from glaciercube.infer.samples import TILES
from glaciercube.store import ledger
from glaciercube.store.lineage import lineage_of
from glaciercube.store.places import place_of
from glaciercube.store.reading import Source, read
from glaciercube.store.writing import write
from infer.test_strips import unet_card

DATES = ("2021-08-01", "2022-08-05", "2023-08-03")
EXACT, BOUND = 24, 1e-3


@pytest.fixture
def image(geobox):
    """Return a cube of 352 x 320 pixels in memory."""
    return make_cube(geobox.pad(120, 128), dates=DATES)


@pytest.fixture
def stored(image, tmp_path):
    """Return it as read from a store of blocks of 96 pixels."""
    write(image.chunk(time=1, band=-1, y=96, x=96), tmp_path / "cube.zarr")
    return read(tmp_path / "cube.zarr")


@pytest.fixture
def unet(tmp_path):
    """Return the card of a U-Net with random weights: stride 4, halo 24."""
    return unet_card(tmp_path)


def forbidden():
    """Return a context in which computing a Dask graph is an error."""

    def refuse(dsk, keys, **kwargs):
        raise AssertionError("this must stay lazy, but it computed a Dask graph")

    return dask.config.set(scheduler=refuse)


def measured_by(layers):
    found = of_attrs(layers.attrs)
    assert found is not None
    return found


def share_of_other_classes(layers, whole, name="facies"):
    one, other = layers[name].values, whole[name].values
    return (one != other).sum() / (other != schema.NODATA).sum()


# --- what it is


def test_classes_agree_with_the_exact_ones_as_far_as_asked_for(stored, image, unet):
    layers = predict(stored, [unet], halo="effective", disagreement=BOUND)
    found = measured_by(layers)
    assert found.exact == EXACT
    assert 0 < found.halo < EXACT
    assert found.halo % unet.stride == 0
    assert 0 < found.disagreement < found.upper <= found.bound == BOUND
    assert found.tiles == TILES
    assert found.pixels == TILES * 96**2
    whole = predict(image.chunk(y=-1, x=-1), [unet], outputs=["facies"])
    assert 0 < share_of_other_classes(layers, whole) <= BOUND
    smaller = predict(stored, [unet], halo=found.halo - unet.stride, outputs=["facies"])
    assert share_of_other_classes(smaller, whole) > share_of_other_classes(layers, whole)


def test_a_looser_bound_gives_a_smaller_halo(stored, unet):
    halos = [
        predict(stored, [unet], halo="effective", disagreement=bound).attrs["halo"]
        for bound in (2e-4, 1e-2, 0.5)
    ]
    assert halos == sorted(halos, reverse=True)
    assert halos[0] > halos[1] > halos[2] == 0


def test_a_fully_convolutional_network_has_one_too(stored, image, tmp_path):
    card = make_card(tmp_path, dilations=(1, 2, 4))
    layers = predict(stored, [card], halo="effective", disagreement=0.02)
    found = measured_by(layers)
    assert found.exact == 7
    assert 0 < found.halo < 7
    whole = predict(image.chunk(y=-1, x=-1), [card], outputs=["facies"])
    assert share_of_other_classes(layers, whole) <= 0.02
    assert measured_by(predict(stored, [card], halo="effective")).halo == 7  # every pixel counts


def test_the_exact_halo_is_taken_where_no_smaller_one_will_do(stored, unet):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GlacierCubeWarning)
        layers = predict(stored, [unet], halo="effective", disagreement=6e-5)
    found = measured_by(layers)
    assert (found.halo, found.disagreement, found.upper) == (EXACT, 0, 0)
    assert found.pixels > 50_000


def test_a_network_of_single_pixels_needs_no_measuring(stored, tmp_path, monkeypatch):
    monkeypatch.setattr(Source, "load", None)
    card = make_card(tmp_path, architecture="fcn", dilations=(), halo=0)
    with forbidden():
        found = measured_by(predict(stored, [card], halo="effective"))
    assert (found.halo, found.exact, found.pixels) == (0, 0, 0)


def test_of_several_networks_the_largest_counts(stored, unet, tmp_path):
    other = make_card(tmp_path, seed=1, task="extent", dilations=(1, 4))
    asked = {"halo": "effective", "disagreement": 0.02}
    alone = [predict(stored, [card], **asked).attrs["halo"] for card in (unet, other)]
    together = measured_by(predict(stored, [unet, other], **asked))
    assert together.exact == EXACT
    assert together.halo == max(-(-halo // 4) * 4 for halo in alone)
    assert alone[0] != alone[1]


def test_eight_views_are_measured_as_they_are_run(stored, image, unet):
    layers = predict(stored, [unet], views=8, halo="effective", disagreement=BOUND)
    found = measured_by(layers)
    assert found.halo < EXACT
    whole = predict(image.chunk(y=-1, x=-1), [unet], views=8, outputs=["facies"])
    assert share_of_other_classes(layers, whole) <= BOUND


def test_only_the_region_counts(stored, unet, monkeypatch):
    box = stored.odc.geobox.boundingbox
    square = shapely.box(box.left + 1200, box.bottom + 1100, box.left + 2300, box.bottom + 2300)
    region = region_of(gpd.GeoSeries([square], crs=stored.odc.geobox.crs), stored.odc.geobox)
    seen = []
    original = strips.classes_of

    def classes_of(read, reported, work, tile):
        seen.append((reported, tile))
        return original(read, reported, work, tile)

    monkeypatch.setattr(strips, "classes_of", classes_of)
    found = measured_by(
        predict(stored, [unet], region=region, halo="effective", disagreement=BOUND)
    )
    assert found.pixels == sum(int(reported.sum()) for reported, _ in seen) > 0
    assert all(not (reported & ~region.inside(tile)).any() for reported, tile in seen)


def test_the_disagreement_is_that_of_the_halo_alone(stored, unet, monkeypatch):
    used = set()
    original = runtimes.runtime_of

    def runtime_of(ref):
        used.add((ref.runtime, ref.precision))
        return original(ref)

    monkeypatch.setattr(runtimes, "runtime_of", runtime_of)
    asked = {"halo": "effective", "disagreement": BOUND}
    eager = predict(stored, [unet], runtime="torch-bfloat16", **asked)
    assert used == {("torch", "float32")}
    assert eager.attrs["halo"] == predict(stored, [unet], **asked).attrs["halo"]


# --- the same again


@pytest.mark.parametrize("kind", ["direct", "overlap", "memory", "computed"])
def test_however_a_cube_is_read_the_halo_is_the_same(stored, unet, kind):
    asked = {"halo": "effective", "disagreement": BOUND}
    expected = measured_by(predict(stored, [unet], **asked))
    once_more = stored["reflectance"].copy(data=stored["reflectance"].data * 1)
    cube = {
        "memory": stored.compute().chunk(time=1, y=96, x=96),
        "computed": stored.assign(reflectance=once_more),
    }.get(kind, stored)
    strategy = "direct" if kind == "direct" else "overlap"
    assert measured_by(predict(cube, [unet], strategy=strategy, **asked)) == expected


def test_what_was_measured_is_taken_as_it_is(stored, unet, monkeypatch):
    found = measured_by(predict(stored, [unet], halo="effective", disagreement=BOUND))
    monkeypatch.setattr(Source, "load", None)
    with forbidden():
        again = predict(stored, [unet], halo=found)
        number = predict(stored, [unet], halo=found.halo)
    assert measured_by(again) == found
    assert again["facies"].data.name == number["facies"].data.name
    assert of_attrs(number.attrs) is None


def test_the_attributes_say_how_it_was_measured(stored, unet, tmp_path):
    layers = predict(stored, [unet], halo="effective", disagreement=BOUND)
    write(layers, tmp_path / "layers.zarr")
    attrs = read(tmp_path / "layers.zarr").attrs
    assert attrs["halo_exact"] == EXACT
    assert attrs["halo_bound"] == BOUND
    assert attrs["halo_sample_pixels"] == TILES * 96**2
    assert attrs["halo_sample_tiles"] == TILES
    assert attrs["halo_disagreement"] < attrs["halo_disagreement_upper"] < BOUND
    assert measured_by(read(tmp_path / "layers.zarr")) == measured_by(layers)
    assert lineage_of(layers["facies"]).parameters["halo"] == attrs["halo"]


def test_a_store_is_completed_with_the_same_halo(stored, unet, tmp_path):
    path = tmp_path / "layers.zarr"
    asked = {"halo": "effective", "disagreement": BOUND}
    first = api.write(api.predict(stored, unet, **asked), path)
    lost = sorted(path.glob("_glaciercube/ledger/*.json"))[:5]
    for record in lost:
        record.unlink()
    again = api.write(api.predict(stored, unet, **asked), path)
    assert (again.written, again.skipped) == (5, first.blocks - 5)
    with pytest.raises(StoreError, match="halo"):
        api.write(api.predict(stored, unet), path)


def test_a_recipe_measures_nothing_again(stored, unet, tmp_path, monkeypatch):
    layers = api.predict(stored, unet, halo="effective", disagreement=BOUND)
    api.write(layers, tmp_path / "layers.zarr")
    ((_, recipe),) = ledger.recipes(place_of(tmp_path / "layers.zarr"))
    assert recipe["halo"] == layers.attrs["halo"]
    monkeypatch.setattr(Source, "load", None)
    with forbidden():
        again = api.remake(recipe)
    assert again.attrs == layers.attrs
    assert again["facies"].data.name == layers["facies"].data.name
    plain = lineage_of(api.predict(stored, unet)["facies"]).recipe
    assert plain["halo"] is None
    assert "measured_halo" not in plain


# --- what it costs


def test_each_tile_is_read_and_computed_once_and_hopeless_halos_are_left_out(
    stored, unet, forwards, monkeypatch
):
    reads = []
    load = Source.load

    def counting(self, time_index, window):
        reads.append((self.variable, time_index, window.shape))
        return load(self, time_index, window)

    monkeypatch.setattr(Source, "load", counting)
    found = measured_by(predict(stored, [unet], halo="effective", disagreement=6e-5))
    assert found.halo == EXACT
    whole = (96 + 2 * EXACT, 96 + 2 * EXACT)
    assert [shape for name, _, shape in reads if name == "reflectance"] == [whole] * TILES
    assert [shape for name, _, shape in reads if name == "valid"] == [(96, 96)] * TILES + [
        whole
    ] * TILES
    exact = [shape for shape in forwards if shape[2:] == whole]
    assert len(exact) == TILES
    # Of six smaller halos each takes a pass or four strips; most are out after the first tile.
    assert len(forwards) - len(exact) < 2 * 4 * TILES


def test_without_it_nothing_is_computed(stored, unet, monkeypatch):
    monkeypatch.setattr(Source, "load", None)
    monkeypatch.setattr(effective, "effective_halo", None)
    with forbidden():
        for halo in (None, 8):
            predict(stored, [unet], halo=halo, disagreement=BOUND)


def test_at_most_so_many_halos_are_tried():
    some = {
        "refs": (),
        "bands": (),
        "planes": (),
        "times": (),
        "positions": (),
        "chunks": ((),) * 3,
    }
    tried = halos_to_try(effective.Work(halo=300, stride=1, **some))
    assert len(tried) == 15
    assert (tried[0], tried[-1]) == (281, 15)
    assert halos_to_try(effective.Work(halo=15, stride=1, **some)) == list(range(14, -1, -1))


# --- the statistics


def test_the_bound_is_that_of_clopper_and_pearson_where_tiles_are_alike():
    differing, pixels = np.array([3, 3, 3, 3]), np.full(4, 10_000)
    expected = stats.beta.ppf(0.95, 13, 40_000 - 12)
    assert upper_bound(differing, pixels) == pytest.approx(expected, rel=1e-9)


def test_tiles_that_differ_widen_the_bound():
    pixels = np.full(4, 10_000)
    alike, apart = (
        upper_bound(np.array(one), pixels) for one in ([30, 30, 30, 30], [120, 0, 0, 0])
    )
    assert apart > 2 * alike
    mean = np.array([120, 0, 0, 0]).mean()
    half = stats.t.ppf(0.95, 3) * np.array([120, 0, 0, 0]).std(ddof=1) / 2
    assert apart == pytest.approx((mean + half) / 10_000, rel=1e-9)


def test_of_one_tile_and_of_all_pixels():
    assert upper_bound(np.array([0]), np.array([29_956])) < 1e-4
    assert upper_bound(np.array([0]), np.array([29_955])) > 1e-4
    assert upper_bound(np.array([7]), np.array([7])) == 1
    assert upper_bound(np.array([9, 0]), np.array([10, 10])) == 1


# --- what cannot be said


def test_with_too_few_measured_pixels_the_exact_halo_is_taken(stored, unet):
    message = (
        r"halo='effective' needs at least 29956 measured pixels, 24 or more from the image's "
        r"border, to show that less than 0\.0001 of the classes differ, found 18432; the exact "
        r"halo of 24 pixels of \['small-facies'\] is taken"
    )
    one = stored.isel(time=[2], y=slice(96, 336), x=slice(96, 240))
    with pytest.warns(GlacierCubeWarning, match=message):
        found = measured_by(predict(one, [unet], halo="effective"))
    assert (found.halo, found.exact, found.disagreement) == (EXACT, EXACT, 0)
    assert (found.pixels, found.bound) == (18432, 1e-4)


def test_bands_that_are_no_numbers_were_not_measured(image, unet):
    holes = image.copy(deep=True)
    holes["reflectance"].loc[{"band": "green"}] = np.nan
    with pytest.warns(GlacierCubeWarning, match=r"needs at least 29956 .* found 0; the exact"):
        found = measured_by(predict(holes.chunk(time=1, y=96, x=96), [unet], halo="effective"))
    assert found.halo == EXACT


def test_a_cube_smaller_than_a_block_is_measured_in_its_middle(image, unet):
    small = image.isel(y=slice(0, 200), x=slice(0, 180))
    found = measured_by(predict(small, [unet], halo="effective", disagreement=BOUND))
    assert found.pixels == small["valid"].values[:, 24:-24, 24:-24].sum()
    assert found.halo < EXACT
    with pytest.warns(GlacierCubeWarning, match=r"from the image's border.*found 0; the exact"):
        predict(small.isel(x=slice(0, 48)), [unet], halo="effective")


def test_networks_that_are_not_exact_are_refused(stored, unet, tmp_path):
    other = make_card(tmp_path, task="extent", exact=False, halo=0, window=64)
    with pytest.raises(WeightsError, match=r"tile exactly.*but \['small-extent'\] are blended on"):
        predict(stored, [unet, other], halo="effective")


@pytest.mark.parametrize("share", [0, 1, -1e-4, 1.5, float("nan"), "1e-4", True, None])
def test_a_disagreement_is_a_share(stored, unet, share):
    with pytest.raises(
        SchemaError, match=r"share of the classes above 0 and below 1, such as 1e-4"
    ):
        predict(stored, [unet], halo="effective", disagreement=share)


def test_a_halo_that_was_measured_for_others_is_refused(stored, card):
    other = EffectiveHalo(
        halo=8, exact=24, disagreement=0.0, upper=0.0, bound=1e-4, pixels=1, tiles=1
    )
    with pytest.raises(SchemaError, match=r"exact halo is 24 pixels, these need 3: measure it"):
        predict(stored, [card], halo=other)


def test_the_verb_passes_it_on(stored, unet):
    with pytest.raises(SchemaError, match="disagreement needs a share"):
        gcube.predict(stored, unet, halo="effective", disagreement=2)
    with pytest.raises(SchemaError, match=r"pixels, 0 or more, or 'effective', found 'wide'"):
        gcube.predict(stored, unet, halo="wide")
