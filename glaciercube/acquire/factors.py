"""Factors of a Landsat Level-1 scene from its metadata file (MTL), where its item lacks them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pystac
import requests

from glaciercube.acquire.access import is_remote, plain
from glaciercube.acquire.items import address_of, asset_of
from glaciercube.errors import AcquireError
from glaciercube.sensors import Sensor, sun_elevation

KEYS = ("mtl.json", "MTL.json")
"""Asset keys of the metadata file as JSON."""

TIMEOUT_S = 30
"""Of the request of a metadata file (s)."""

_NUMBER = re.compile(r"B(\d+)")


def with_factors(item: pystac.Item, sensor: Sensor) -> pystac.Item:
    """Return an item that states what its conversion to reflectance needs.

    Parameters
    ----------
    item : Item
    sensor : Sensor

    Returns
    -------
    Item
        The same where it states scale, offset and sun, or is no Landsat Level-1 scene, or has
        no metadata file; else a copy with the factors of each band in the `raster` extension
        and the sun's elevation.

    Raises
    ------
    AcquireError
        If the metadata file cannot be read, or lacks a factor.

    Notes
    -----
    REFLECTANCE_MULT_BAND_n, REFLECTANCE_ADD_BAND_n and SUN_ELEVATION (USGS LSDS-1574).
    """
    if sensor.rule != "landsat-toa" or _complete(item, sensor):
        return item
    key = asset_of(item, KEYS)
    if key is None:
        return item
    address = address_of(item, key)
    told = _groups(_text(address, item), address, item)
    out = item.clone()
    out.properties.setdefault("view:sun_elevation", told["SUN_ELEVATION"])
    for band in (*sensor.bands, *sensor.more):
        asset = asset_of(out, band.keys)
        if asset is None:
            continue
        number = _NUMBER.search(band.assets["landsatlook-2020"])
        assert number is not None, "every band of the table has a number"
        try:
            factors = [told[f"REFLECTANCE_{part}_BAND_{number[1]}"] for part in ("MULT", "ADD")]
        except KeyError as error:
            raise AcquireError(
                f"the metadata of {item.id} ({plain(address)}) lack {error}; leave the item out"
            ) from None
        fields = {"scale": factors[0], "offset": factors[1]}
        out.assets[asset].extra_fields["raster:bands"] = [fields]
    return out


def _complete(item, sensor):
    """Say whether an item states all that its conversion needs; OLI's factors are constant."""
    if sun_elevation(item.properties) is None:
        return False
    if sensor.name.startswith("landsat-oli"):
        return True
    keys = [key for band in sensor.bands if (key := asset_of(item, band.keys))]
    return all("raster:bands" in item.assets[key].extra_fields for key in keys)


def _text(address: str, item: pystac.Item) -> str:
    try:
        if not is_remote(address):
            return Path(address).read_text(encoding="utf-8")
        if address.startswith("http"):
            answer = requests.get(address, timeout=TIMEOUT_S)
            answer.raise_for_status()
            return answer.text
        cause = "it is neither a local file nor on the web"
    except (OSError, requests.RequestException) as error:
        cause = plain(str(error))
    raise AcquireError(
        f"cannot read the metadata of {item.id} at {plain(address)}: {cause}; state scale and "
        "offset of each band in the item (raster extension) and view:sun_elevation, or take the "
        "Level-2 product"
    )


def _groups(text: str, address: str, item: pystac.Item) -> Mapping[str, Any]:
    """Return the numbers of the groups that matter."""
    try:
        groups = json.loads(text)["LANDSAT_METADATA_FILE"]
        told = {**groups["LEVEL1_RADIOMETRIC_RESCALING"], **groups["IMAGE_ATTRIBUTES"]}
        wanted = {k: v for k, v in told.items() if k.startswith(("REFLECTANCE_", "SUN_ELEVATION"))}
        return {"SUN_ELEVATION": None, **{key: float(value) for key, value in wanted.items()}}
    except (ValueError, KeyError, TypeError) as error:
        raise AcquireError(
            f"the metadata of {item.id} at {plain(address)} are no Landsat Collection 2 MTL: "
            f"{error!r}"
        ) from None
