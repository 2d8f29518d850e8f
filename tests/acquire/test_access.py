"""Who needs what to read an asset, and which assets are trusted."""

from datetime import UTC, datetime, timedelta

import pystac
import pytest
import rasterio

from glaciercube.acquire import access
from glaciercube.acquire.access import (
    ROWS,
    access_of,
    address_for_reading,
    asset_address,
    plain,
    require_trusted,
    signed,
    without_query,
)
from glaciercube.acquire.tokens import Tokens
from glaciercube.errors import AcquireError

BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/31/B04.tif"


@pytest.fixture
def asked(monkeypatch):
    """Return which containers were asked for a token."""
    made = []

    def fetch(account, container):
        made.append((account, container))
        return f"sig=secret{len(made)}", datetime.now(UTC) + timedelta(minutes=45)

    monkeypatch.setattr(access, "TOKENS", Tokens(fetch))
    return made


def item_of(href, root="https://example.org/stac", **more):
    item = pystac.Item("scene", None, None, datetime(2021, 8, 1, tzinfo=UTC), {})
    item.set_self_href(f"{root}/scene.json")
    item.add_asset("B04", pystac.Asset(href, **more))
    return item


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_owns_its_addresses_and_no_others(row):
    for host in row.hosts:
        name = f"account{host}" if host.startswith(".") else host
        assert access_of(f"{row.scheme}://{name}/a/b.tif") is row
        assert access_of(f"{row.scheme}://{name}.example.org/a/b.tif") is not row


def test_planetary_computer_is_signed_once_per_container(asked):
    assert signed(BLOB) == f"{BLOB}?sig=secret1"
    assert signed(BLOB.replace("B04", "B03")).endswith("B03.tif?sig=secret1")
    assert asked == [("sentinel2l2a01", "sentinel2-l2")]


def test_a_stale_signature_in_the_address_is_replaced(asked):
    assert signed(f"{BLOB}?sig=old&se=2021") == f"{BLOB}?sig=secret1"


def test_a_refused_token_is_replaced(asked):
    first = address_for_reading(BLOB)
    assert first.renews
    assert address_for_reading(BLOB, stale=first.token).address == f"{BLOB}?sig=secret2"


def test_what_is_opened_is_not_shown(asked):
    assert "secret" not in repr(address_for_reading(BLOB))


@pytest.mark.parametrize(
    "address",
    [
        "a.tif",
        "s3://bucket/a.tif",
        "https://example.org/a.tif",
        "https://ai4edatasetspublicassets.blob.core.windows.net/x/a.tif",
    ],
)
def test_others_are_left_alone(asked, address):
    assert signed(address) == address
    assert asked == []


def test_requester_pays_is_an_option_of_the_read():
    opening = address_for_reading("s3://usgs-landsat/collection02/B4.TIF")
    assert opening.options == {"AWS_REQUEST_PAYER": "requester", "AWS_REGION": "us-west-2"}
    assert not opening.renews


def test_what_the_user_set_is_kept(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with rasterio.Env(AWS_REQUEST_PAYER="nobody"):
        assert address_for_reading("s3://usgs-landsat/B4.TIF").options == {}


def test_an_alternate_address_spares_the_login():
    login = "https://landsatlook.usgs.gov/data/B4.TIF"
    s3 = "s3://usgs-landsat/collection02/B4.TIF"
    both = {"alternate": {"s3": {"href": s3}}}
    assert asset_address(pystac.Asset(login, extra_fields=both)) == s3
    assert asset_address(pystac.Asset(login)) == login
    assert asset_address(pystac.Asset("https://x.org/a.tif", extra_fields=both)).startswith("https")


def test_addresses_are_made_absolute_beside_their_item():
    beside = item_of("./a.tif").assets["B04"]
    assert asset_address(beside) == "https://example.org/stac/a.tif"
    assert asset_address(item_of("/data/a.tif").assets["B04"]) == "/data/a.tif"


def test_an_address_to_keep_has_no_token():
    assert asset_address(pystac.Asset(f"{BLOB}?sig=secret")) == BLOB


@pytest.mark.parametrize(
    "href",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "/vsicurl/http://169.254.169.254/latest/meta-data",
        "/vsizip//home/a.zip/b.tif",
        "vrt:///etc/a.tif?bands=1",
        "GTIFF_DIR:1:/etc/a.tif",
        "<VRTDataset></VRTDataset>",
        r"C:\data\a.tif",
        "C:/data/a.tif",
    ],
)
def test_paths_in_items_from_elsewhere_are_refused(href):
    item = item_of(href)
    with pytest.raises(AcquireError, match=r"scene 'B04': .* is a path of this machine in an item"):
        require_trusted([item])
    require_trusted([item], allow_local=True)
    with pytest.raises(AcquireError, match="path of this machine"):
        require_trusted([item_of(href, root="/data")], remote=True)


@pytest.mark.parametrize("href", ["https://x.org/a.vrt", "https://x.org/a.VRT?b=1", "s3://b/a.vrt"])
def test_vrt_in_items_from_elsewhere_is_refused(href):
    with pytest.raises(AcquireError, match="is a VRT, which may read any file"):
        require_trusted([item_of(href)])
    require_trusted([item_of(href)], allow_local=True)
    with pytest.raises(AcquireError, match="is a VRT"):
        require_trusted([item_of("https://x.org/a", media_type="application/x-gdal-vrt")])


def test_local_items_may_name_local_files():
    require_trusted([item_of("/data/a.tif", root="/data"), item_of("b.vrt", root="/data")])


def test_relative_addresses_stay_with_their_item():
    require_trusted([item_of("./a.tif")])


@pytest.mark.parametrize(
    "href",
    [
        "https://x.org/a.tif?X-Amz-Signature=secret&X-Amz-Date=1",
        "https://x.org/a.tif?sig=secret",
        "https://me:secret@x.org/a.tif",
        "https://x.org/a.tif?access_token=secret",
    ],
)
def test_a_secret_in_an_address_is_refused_without_telling_it(href):
    with pytest.raises(AcquireError, match=r"https://x.org/a.tif holds a credential") as raised:
        require_trusted([item_of(href, root="/data")])
    assert "secret" not in str(raised.value).replace("allow_secrets", "")
    require_trusted([item_of(href)], allow_secrets=True)


def test_signed_planetary_computer_items_are_taken():
    require_trusted([item_of(f"{BLOB}?sig=secret")])


def test_every_asset_that_is_refused_is_listed_up_to_ten():
    with pytest.raises(AcquireError, match="and 2 more"):
        require_trusted([item_of("/etc/passwd")] * 12)


def test_no_query_or_password_is_shown():
    assert plain("https://x.org/a.tif?sig=1 and 'b.tif?c=2'") == "https://x.org/a.tif and 'b.tif'"
    assert plain("https://me:pw@x.org/a.tif") == "https://x.org/a.tif"
    assert without_query("/data/what?.tif") == "/data/what?.tif"
