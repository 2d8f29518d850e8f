"""The STAC catalogue of a simulated archive, in the manner of providers, marked as simulated."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pystac
from odc.geo.geobox import GeoBox
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from glaciercube.sensors import SENTINEL_2_L2A, Band
from glaciercube.simulate.provider import Delivery, offset_of

TILE = "32TMS"
"""The Sentinel-2 tile in which the simulated mountains would lie."""

DEM_COLLECTION = "cop-dem-glo-30"
VERTICAL_DATUM = "EGM2008"

# Asset keys of Earth Search (v1); the same as this package's band names but for the red edge.
ASSET_KEYS = {"rededge071": "rededge1", "rededge075": "rededge2", "rededge078": "rededge3"}

COMMON_NAMES = {
    "rededge071": "rededge", "rededge075": "rededge", "rededge078": "rededge",
}  # fmt: skip

EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/view/v1.0.0/schema.json",
    "https://stac-extensions.github.io/mgrs/v1.0.0/schema.json",
]
SIMULATED = {"glaciercube:simulated": True}


def asset_key(name: str) -> str:
    """Return the asset key of a band.

    Examples
    --------
    >>> asset_key("rededge071"), asset_key("nir08")
    ('rededge1', 'nir08')
    """
    return ASSET_KEYS.get(name, name)


def scene_id(time: datetime, platform: str) -> str:
    """Return the identifier of a scene, in the manner of Earth Search.

    Examples
    --------
    >>> scene_id(datetime(2021, 8, 5), "sentinel-2a")
    'S2A_32TMS_20210805_0_L2A'
    """
    return f"S2{platform[-1].upper()}_{TILE}_{time:%Y%m%d}_0_L2A"


def scene_item(
    delivery: Delivery,
    time: datetime,
    platform: str,
    *,
    grids: dict[float, GeoBox],
    footprint: BaseGeometry,
    sun: tuple[float, float],
) -> pystac.Item:
    """Return the item of a Sentinel-2 scene, its assets beside it.

    Parameters
    ----------
    delivery : Delivery
    time : datetime
        UTC.
    platform : str
        "sentinel-2a" or "sentinel-2b".
    grids : dict of float to GeoBox
        By resolution (m).
    footprint : geometry
        Of what was measured, longitude and latitude.
    sun : (float, float)
        Azimuth and elevation (degrees).
    """
    missing = 100 * float(1 - delivery.measured.mean())
    item = pystac.Item(
        id=scene_id(time, platform),
        geometry=mapping(footprint),
        bbox=list(footprint.bounds),
        datetime=time,
        properties={
            **SIMULATED,
            "title": f"Simulated Sentinel-2 L2A of {time:%Y-%m-%d}",
            "created": _stamp(time + timedelta(hours=6)),
            "updated": _stamp(time + timedelta(hours=6)),
            "platform": platform,
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "gsd": 10,
            "eo:cloud_cover": round(delivery.cloud_cover, 4),
            "view:sun_azimuth": round(sun[0], 4),
            "view:sun_elevation": round(sun[1], 4),
            "proj:code": str(grids[10.0].crs),
            "mgrs:utm_zone": int(TILE[:2]),
            "mgrs:latitude_band": TILE[2],
            "mgrs:grid_square": TILE[3:],
            "s2:mgrs_tile": TILE,
            "s2:product_type": "S2MSI2A",
            "s2:processing_baseline": delivery.baseline,
            "s2:nodata_pixel_percentage": round(missing, 4),
            "earthsearch:boa_offset_applied": False,
        },
        stac_extensions=EXTENSIONS,
    )
    for band in SENTINEL_2_L2A.bands:
        item.add_asset(asset_key(band.name), _band_asset(band, delivery.baseline, grids))
    item.add_asset("scl", _class_asset(grids[20.0]))
    return item


def _stamp(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _band_asset(band: Band, baseline: str, grids: dict[float, GeoBox]) -> pystac.Asset:
    key = asset_key(band.name)
    about: dict[str, Any] = {
        "gsd": int(band.resolution),
        "eo:bands": [
            {
                "name": band.keys[0],
                "common_name": COMMON_NAMES.get(band.name, band.name),
                "center_wavelength": band.wavelength,
            }
        ],
        "raster:bands": [
            {
                "nodata": SENTINEL_2_L2A.nodata[0],
                "data_type": "uint16",
                "spatial_resolution": int(band.resolution),
                "scale": SENTINEL_2_L2A.scale,
                "offset": offset_of(baseline) * SENTINEL_2_L2A.scale,
            }
        ],
        **_projection(grids[band.resolution]),
    }
    return _asset(key, f"{band.name}, simulated", ["data", "reflectance"], about)


def _class_asset(grid: GeoBox) -> pystac.Asset:
    about = {
        "gsd": 20,
        "raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}],
        **_projection(grid),
    }
    return _asset("scl", "Scene classification, simulated", ["data"], about)


def _asset(key, title, roles, about):
    return pystac.Asset(
        href=f"./{key}.tif",
        title=title,
        media_type=pystac.MediaType.COG,
        roles=roles,
        extra_fields=about,
    )


def _projection(grid: GeoBox) -> dict[str, Any]:
    return {"proj:shape": list(grid.shape), "proj:transform": list(grid.affine)[:6]}


def elevation_item(grid: GeoBox, time: datetime) -> pystac.Item:
    """Return the item of the elevation model.

    Parameters
    ----------
    grid : GeoBox
        Geographic.
    time : datetime
        Date of the surface, UTC.
    """
    extent = grid.extent.to_crs("EPSG:4326").geom
    item = pystac.Item(
        id="Simulated_DSM_COG_10_N46_00_E008_00_DEM",
        geometry=mapping(extent),
        bbox=list(extent.bounds),
        datetime=time,
        properties={
            **SIMULATED,
            "title": "Simulated elevation",
            "gsd": 30,
            "platform": "simulated",
            "vertical_datum": VERTICAL_DATUM,
            "proj:code": str(grid.crs),
            **_projection(grid),
        },
        stac_extensions=[EXTENSIONS[0], EXTENSIONS[2]],
    )
    about = {
        "raster:bands": [
            {"data_type": "float32", "spatial_resolution": 30, "unit": "meter", "sampling": "point"}
        ],
        **_projection(grid),
    }
    item.add_asset("data", _asset("data", "Elevation, simulated", ["data"], about))
    return item


def save_catalog(root: Path, scenes: list[pystac.Item], elevation: pystac.Item) -> Path:
    """Write a static, relocatable catalogue and return the path of its catalog.json.

    Parameters
    ----------
    root : Path
        Folder; items are written to `<collection>/<item>/<item>.json`.
    scenes : list of Item
    elevation : Item
    """
    catalog = pystac.Catalog(
        id="glaciercube-simulated",
        title="Simulated glacier archive",
        description="Simulated by glaciercube: no satellite has measured any of this.",
    )
    catalog.add_child(
        _collection(SENTINEL_2_L2A.collections[0], "Sentinel-2 Level-2A (simulated)", scenes)
    )
    catalog.add_child(_collection(DEM_COLLECTION, "Copernicus DEM GLO-30 (simulated)", [elevation]))
    # without the slash, a folder with a dot in its name would be taken for a file
    catalog.normalize_hrefs(f"{root}/")
    catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)
    return root / "catalog.json"


def _collection(name, title, items):
    times = [item.datetime for item in items]
    collection = pystac.Collection(
        id=name,
        title=title,
        description=f"{title}: a landscape made by glaciercube, in the layout of the provider.",
        extent=pystac.Extent(
            spatial=pystac.SpatialExtent([_bounds(items)]),
            temporal=pystac.TemporalExtent([[min(times), max(times)]]),
        ),
        license="CC0-1.0",
        extra_fields=dict(SIMULATED),
    )
    collection.add_items(items)
    return collection


def _bounds(items):
    west, south, east, north = zip(*(item.bbox for item in items), strict=True)
    return [min(west), min(south), max(east), max(north)]
