"""What a job does, checked before anything is made."""

from pathlib import Path

import pytest

from cluster.rounds import options
from glaciercube.cluster.options import address_of, cards_of, halo_of, period_of
from glaciercube.errors import AcquireError, GridError, SchemaError, SensorError, WeightsError
from glaciercube.model.zoo import BUNDLED, card_of


def test_options_are_plain():
    found = options(cards=("extent", BUNDLED / "facies.json"), halo=None)
    assert found["season"] == ["07-01", "09-30"]
    assert found["period"] == "2021-01-01/2021-12-31"
    assert found["cards"] == ["extent", str(BUNDLED / "facies.json")]
    assert found["weights"] == [card_of(name).sha256 for name in ("extent", "facies")]
    assert found["halo"] == max(card_of(name).halo for name in ("extent", "facies"))


def test_a_single_card_is_one():
    assert cards_of("facies", "sentinel-2-l2a")[0] == ["facies"]


def test_a_path_is_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "catalog.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert address_of("catalog.json", "it") == str(tmp_path / "catalog.json")
    assert address_of(Path("none.json"), "it") == str(tmp_path / "none.json")
    assert address_of("cop-dem-glo-30", "it") == "cop-dem-glo-30"
    assert address_of("https://example.org/v1?page=2", "it") == "https://example.org/v1?page=2"


@pytest.mark.parametrize(
    "address",
    ["https://me:secret@example.org/v1", "https://example.org/v1?token=secret",
     "https://example.org/v1?limit=3&SIG=secret"],
)  # fmt: skip
def test_a_credential_is_refused_and_not_told(address):
    with pytest.raises(AcquireError, match="the catalogue .*example.org/v1.* a credential") as told:
        options(catalog=address)
    assert "secret" not in str(told.value)


def test_what_is_in_memory_is_refused():
    with pytest.raises(AcquireError, match="the catalogue is an address or a path, found list"):
        options(catalog=[])


@pytest.mark.parametrize("period", [None, "2021/..", ("..", "2021")])
def test_an_open_period_is_refused(period):
    with pytest.raises(AcquireError, match=r"two ends, so that a resume does the same, found"):
        period_of(period)


def test_a_period_keeps_its_moments():
    assert period_of("2021-07-01T12:00:00/2021-07-02") == (
        "2021-07-01T12:00:00+00:00/2021-07-02T23:59:59.999999+00:00"
    )


def test_numbers_are_all_listed():
    with pytest.raises(SchemaError) as told:
        options(resolution=0, buffer_m=float("nan"), block=1.5, target_pixels=0)
    for text in ("m, found 0", "m, found nan", "block .* found 1.5", "target_pixels .* found 0"):
        assert told.match(text)


def test_halo_and_block_fit_the_networks():
    facies = card_of("facies")
    assert halo_of(None, 64, []) == 0
    assert halo_of(40, 64, [facies]) == 40
    with pytest.raises(GridError, match=f"at least the {facies.halo} pixels .* found 3"):
        options(cards="facies", halo=3)

    class Strided:
        stride, halo = 16, 20

    assert halo_of(None, 64, [Strided()]) == 32
    with pytest.raises(GridError, match="block=100 pixels .* stride of the networks, 16"):
        halo_of(None, 100, [Strided()])


def test_what_others_refuse_is_refused():
    with pytest.raises(SensorError, match="'cop-dem-glo-30'"):
        options(sensor="cop-dem-glo-30")
    with pytest.raises(SensorError, match="unknown sensor 'sentinel-9'"):
        options(sensor="sentinel-9")
    with pytest.raises(AcquireError, match="a season is two days"):
        options(season=("7-1", "9-30"))
    with pytest.raises(WeightsError, match="no network 'fancies'"):
        options(cards="fancies")
    with pytest.raises(SchemaError, match="facies needs the bands"):
        options(cards="facies", sensor="sentinel-1-rtc")
