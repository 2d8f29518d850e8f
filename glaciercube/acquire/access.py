"""Who needs what to read an asset: tokens, requester pays, endpoints; and which are trusted."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from urllib.parse import parse_qsl, urlsplit

import pystac
import rasterio.env

from glaciercube.acquire.tokens import Tokens
from glaciercube.errors import AcquireError

REMOTE = ("http", "https", "s3", "gs", "az")
"""Schemes of addresses that are read over a network."""

FORMATS = ("GTiff", "JP2OpenJPEG")
"""What a remote asset may be. GDAL knows a format by its content, so that a file of any name may
be a VRT, which reads files of this machine; only these are opened."""

SECRETS = (
    "sig", "signature", "x-amz-signature", "x-amz-credential", "x-amz-security-token",
    "x-goog-signature", "x-goog-credential", "awsaccesskeyid", "token", "access_token", "apikey",
    "api_key", "key", "password",
)  # fmt: skip
"""Parameters of a query that hold a credential, in lower case."""


FROM_AFAR = "glaciercube:from_afar"
"""Field of items that `search` got over a network; their own links are the network's too."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """One provider: which addresses are its own and what reading them needs."""

    name: str
    scheme: str
    """Of its addresses: "https" stands for "http" too."""

    hosts: tuple[str, ...]
    """Host, or bucket, or with a leading dot the end of a host."""

    options: Mapping[str, str] = field(default_factory=dict)
    """GDAL's, set while such an asset is read, unless the user set them."""

    token: bool = False
    """Whether a Planetary Computer token is needed."""

    login: bool = False
    """Whether a browser must log in first, so that another address is to be taken."""

    def __post_init__(self) -> None:
        """Keep the options from being changed."""
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def owns(self, address: str) -> bool:
        """Say whether an address is this provider's."""
        parts = urlsplit(address)
        if parts.scheme.replace("http", "https").replace("httpss", "https") != self.scheme:
            return False
        host = parts.hostname or ""
        return any(host.endswith(own) if own[0] == "." else host == own for own in self.hosts)


PAID = {"AWS_REQUEST_PAYER": "requester"}
FREE = {"AWS_NO_SIGN_REQUEST": "YES"}

ROWS = (
    Access(
        name="Planetary Computer", scheme="https", hosts=(".blob.core.windows.net",), token=True
    ),
    Access(name="USGS login", scheme="https", hosts=("landsatlook.usgs.gov",), login=True),
    Access(
        name="USGS Landsat", scheme="s3", hosts=("usgs-landsat",),
        options={**PAID, "AWS_REGION": "us-west-2"},
    ),
    Access(
        name="Sentinel-2 and Sentinel-1 by Sinergise", scheme="s3",
        hosts=("sentinel-s2-l1c", "sentinel-s2-l2a", "sentinel-s1-l1c"),
        options={**PAID, "AWS_REGION": "eu-central-1"},
    ),
    Access(
        name="Earth Search Sentinel-2", scheme="s3", hosts=("sentinel-cogs",),
        options={**FREE, "AWS_REGION": "us-west-2"},
    ),
    Access(
        name="Copernicus DEM", scheme="s3", hosts=("copernicus-dem-30m", "copernicus-dem-90m"),
        options={**FREE, "AWS_REGION": "eu-central-1"},
    ),
    Access(
        name="Copernicus Data Space", scheme="s3", hosts=("eodata",),
        options={
            "AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu", "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_HTTPS": "YES",
        },
    ),
)  # fmt: skip
"""The first that owns an address counts; an address of none is read as it stands. Requester-pays
buckets and Copernicus Data Space take the keys of the process: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, a profile, or `odc.stac.configure_s3_access`."""

PUBLIC = ("ai4edatasetspublicassets.blob.core.windows.net",)
"""Of the Planetary Computer's hosts those that take no token."""

TOKENS = Tokens()


@dataclass(frozen=True)
class Opening:
    """How an asset is opened now, on this worker; not to be kept, printed or sent."""

    address: str = field(repr=False)
    options: dict[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    """Which was put into the address."""

    renews: bool = False
    """Whether there is another token to be had."""


def access_of(address: str) -> Access | None:
    """Return what is known of the provider of an address, None if nothing.

    Examples
    --------
    >>> access_of("s3://usgs-landsat/collection02/B4.TIF").options["AWS_REQUEST_PAYER"]
    'requester'
    """
    return next((row for row in ROWS if row.owns(address)), None)


def address_for_reading(address: str, stale: str = "") -> Opening:
    """Return how an asset is opened: its address, signed where that is needed, and options.

    Call it where the asset is read, just before.

    Parameters
    ----------
    address : str
    stale : str
        A token that was refused.

    Examples
    --------
    >>> address_for_reading("https://example.org/B04.tif").address
    'https://example.org/B04.tif'
    """
    row = access_of(address)
    if row is None:
        return Opening(address)
    options = {name: value for name, value in row.options.items() if not _set_by_user(name)}
    if not row.token or urlsplit(address).hostname in PUBLIC:
        return Opening(address, options)
    bare = without_query(address)
    parts = urlsplit(bare)
    account = (parts.hostname or "").split(".")[0]
    container = parts.path.lstrip("/").split("/")[0]
    token = TOKENS.get(account, container, stale)
    return Opening(f"{bare}?{token}", options, token, renews=True)


def signed(address: str) -> str:
    """Return an address as it is opened now, with a token where its host needs one.

    Examples
    --------
    >>> signed("https://example.org/B04.tif")
    'https://example.org/B04.tif'
    """
    return address_for_reading(address).address


def _set_by_user(name: str) -> bool:
    set_here = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    return name in os.environ or name in set_here


def asset_address(asset: pystac.Asset) -> str:
    """Return the address to read an asset from, without a token.

    Where the first needs a login in a browser (landsatlook.usgs.gov), the alternate on S3 is
    taken, if the asset states one (`alternate` extension). A Planetary Computer address loses
    its token; it gets a fresh one when it is read.

    Parameters
    ----------
    asset : Asset
    """
    # pystac would put the host of the item before a path of this machine.
    absolute = asset.get_absolute_href() if _is_relative(asset.href) else None
    href = absolute or asset.href
    row = access_of(href)
    if row is None:
        return href
    if row.token:
        return without_query(href)
    other = asset.extra_fields.get("alternate", {}).get("s3", {}).get("href")
    return str(other) if row.login and other else href


def without_query(address: str) -> str:
    """Return an address without its query and fragment.

    Examples
    --------
    >>> without_query("https://example.org/B04.tif?sig=secret")
    'https://example.org/B04.tif'
    """
    return re.split(r"[?#]", address, maxsplit=1)[0] if is_remote(address) else address


def plain(text: str) -> str:
    """Return an address or message without queries and passwords, which may hold a credential.

    Examples
    --------
    >>> plain("'/vsicurl/https://me:pw@example.org/B04.tif?sig=secret' is no raster")
    "'/vsicurl/https://example.org/B04.tif' is no raster"
    """
    text = re.sub(r"\?[^\s'\"]+", "", text)
    return re.sub(r"://[^/\s'\"@]*@", "://", text)


def is_remote(address: str) -> bool:
    """Say whether an address is read over a network.

    Examples
    --------
    >>> is_remote("https://example.org/B04.tif"), is_remote("/data/B04.tif")
    (True, False)
    """
    return urlsplit(address).scheme.lower() in REMOTE


def require_trusted(
    items: Iterable[pystac.Item],
    *,
    remote: bool | None = None,
    allow_local: bool = False,
    allow_secrets: bool = False,
) -> None:
    """Refuse items whose assets a stranger could have pointed at this machine's own files.

    Parameters
    ----------
    items : iterable of Item
    remote : bool, optional
        Whether they came over a network; told by their links if not given.
    allow_local : bool
        Let remote items name local files, GDAL's virtual paths (`/vsi...`) and VRT.
    allow_secrets : bool
        Let addresses hold a credential, which then stands in graphs and may be printed.

    Raises
    ------
    AcquireError
        Lists each asset that is refused, by its text without credentials.
    """
    problems = []
    for item in items:
        far = came_from_afar(item) if remote is None else remote
        for key, asset in item.assets.items():
            why = _distrust(asset, far and not allow_local, not allow_secrets)
            if why:
                problems.append(f"  {item.id} {key!r}: {why}")
    if problems:
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise AcquireError(
            "items need assets that may be read here, found\n" + "\n".join(problems[:10]) + more
        )


def came_from_afar(item: pystac.Item) -> bool:
    """Say whether an item was got over a network, as `search` noted or its links tell."""
    if item.extra_fields.get(FROM_AFAR):
        return True
    links = [link for link in item.links if link.rel in ("self", "root", "parent", "collection")]
    hrefs = [item.get_self_href(), *(link.absolute_href for link in links if link.target)]
    return any(is_remote(href) for href in hrefs if href)


def _distrust(asset: pystac.Asset, far: bool, no_secrets: bool) -> str:
    """Return why an asset is not to be read, "" if it may be."""
    href = asset.href
    if no_secrets and _holds_secret(href):
        return (
            f"{plain(href)} holds a credential, which would stand in the graph; take the items "
            "unsigned (a Planetary Computer address is signed when it is read), or pass "
            "allow_secrets=True"
        )
    absolute = asset.get_absolute_href() or href
    if far and not (is_remote(href) or (is_remote(absolute) and _is_relative(href))):
        return (
            f"{plain(href)[:200]!r} is a path of this machine in an item from elsewhere; pass "
            "allow_local=True if you trust the catalogue"
        )
    if far and (_is_virtual(absolute) or _is_virtual(asset.media_type or "")):
        return (
            f"{plain(href)[:200]!r} is a VRT, which may read any file; pass allow_local=True if "
            "you trust the catalogue"
        )
    return ""


def _is_relative(href: str) -> bool:
    """Say whether an address is no more than a name beside its item's."""
    return not re.match(r"[/\\<]|[A-Za-z][\w+.-]*:", href)


def _is_virtual(text: str) -> bool:
    name = PurePosixPath(without_query(text)).name.lower()
    return name.endswith(".vrt") or "vrtdataset" in text.lower() or "x-gdal-vrt" in text.lower()


def _holds_secret(address: str) -> bool:
    if not is_remote(address):
        return False
    parts = urlsplit(address)
    if parts.password or (parts.username and "@" in parts.netloc):
        return True
    row = access_of(address)
    if row is not None and row.token:
        return False
    return any(
        name.lower() in SECRETS for name, _ in parse_qsl(parts.query, keep_blank_values=True)
    )
