"""A tiny static STAC catalogue made on the spot: planes of reflectance and known offsets."""

from dataclasses import dataclass, field

import numpy as np
import pystac
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from shapely.geometry import mapping

from glaciercube import grid

WEST, NORTH, SIZE = 600_000, 5_000_640, 64
CRS = "EPSG:32632"
NAMES = (
    "blue", "green", "red", "rededge071", "rededge075", "rededge078",
    "nir", "nir08", "swir16", "swir22",
)  # fmt: skip
FINE = ("blue", "green", "red", "nir")
EARTH_SEARCH = {
    **{name: name for name in NAMES},
    "rededge071": "rededge1", "rededge075": "rededge2", "rededge078": "rededge3", "scl": "scl",
}  # fmt: skip
PLANETARY = dict(
    zip(NAMES, ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"), strict=True),
    scl="SCL",
)
PROJECTION = "https://stac-extensions.github.io/projection/v1.1.0/schema.json"


def geobox():
    """Return the grid of 64 x 64 pixels of 10 m that all scenes cover."""
    bounds = (WEST, NORTH - SIZE * 10, WEST + SIZE * 10, NORTH)
    return GeoBox.from_bbox(bounds, CRS, resolution=10)


def plane(name, step=10, day=0):
    """Return a plane of reflectance that bilinear resampling leaves as it is."""
    number = NAMES.index(name)
    size = SIZE * 10 // step
    centres = (np.arange(size) + 0.5) * step / (SIZE * 10)
    top = 0.1 + 0.02 * day if name.startswith("swir") else 0.9 + 0.05 * number
    low = 0.004 + 0.002 * number
    return low + (top - low) * (centres[:, np.newaxis] + centres) / 2


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One item to be made."""

    name: str
    time: str
    shift: int = 0
    """Added to the digital numbers (DN)."""

    properties: dict = field(default_factory=dict)
    keys: dict = field(default_factory=lambda: EARTH_SEARCH)
    columns: tuple[int, int] = (0, SIZE)
    """Of 64, where something was measured."""

    day: int = 0
    collection: str = "sentinel-2-l2a"
    classes: tuple[tuple[int, int, int, int, int], ...] = ()
    """Scene classification: first and last row and column of 64, and code; 4 elsewhere."""


def write_raster(path, numbers, step, nodata=0, crs=CRS, transform=None):
    """Write one band as a tiled GeoTIFF."""
    profile = {
        "driver": "GTiff", "count": 1, "dtype": numbers.dtype, "crs": crs, "nodata": nodata,
        "height": numbers.shape[0], "width": numbers.shape[1],
        "transform": transform or from_origin(WEST, NORTH, step, step),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(numbers, 1)


def make_item(scene, folder):
    """Return an item whose files were written under a folder."""
    extent = grid.area_frame(geobox()).to_crs(grid.WGS84).geometry.iloc[0]
    item = pystac.Item(
        id=scene.name,
        geometry=mapping(extent),
        bbox=list(extent.bounds),
        datetime=pystac.utils.str_to_datetime(scene.time),
        properties={"platform": "sentinel-2a", **scene.properties},
        collection=scene.collection,
    )
    item.stac_extensions.append(PROJECTION)
    target = folder / scene.name
    target.mkdir(parents=True)
    for name in NAMES:
        step = 10 if name in FINE else 20
        numbers = np.rint(plane(name, step, scene.day) * 1e4 + scene.shift).astype(np.uint16)
        numbers = np.where(_seen(scene, step), numbers, 0).astype(np.uint16)
        _add(item, scene.keys[name], target / f"{name}.tif", numbers, step)
    classes = np.full((SIZE, SIZE), 4, np.uint8)
    for top, bottom, left, right, code in scene.classes:
        classes[top:bottom, left:right] = code
    classes = np.where(_seen(scene, 20), classes[::2, ::2], 0).astype(np.uint8)
    _add(item, scene.keys["scl"], target / "scl.tif", classes, 20)
    return item


def _seen(scene, step):
    seen = np.zeros((SIZE, SIZE), bool)
    seen[:, slice(*scene.columns)] = True
    return seen[:: step // 10, :: step // 10]


def _add(item, key, path, numbers, step):
    write_raster(path, numbers, step)
    extra = {
        "proj:epsg": 32632,
        "proj:shape": list(numbers.shape),
        "proj:transform": [step, 0, WEST, 0, -step, NORTH],
    }
    asset = pystac.Asset(
        str(path), media_type="image/tiff; application=geotiff", roles=["data"], extra_fields=extra
    )
    item.add_asset(key, asset)


def make_catalog(folder, scenes, dem=True):
    """Return the path of a catalogue of scenes and, on request, of elevation."""
    root = pystac.Catalog("tiny", "Scenes made for a test")
    by_name = {}
    for scene in scenes:
        by_name.setdefault(scene.collection, []).append(make_item(scene, folder / "files"))
    if dem:
        by_name["cop-dem-glo-30"] = [make_elevation(folder / "files")]
    everything = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]])
    )
    for name, items in by_name.items():
        collection = pystac.Collection(name, name, everything)
        root.add_child(collection)
        collection.add_items(items)
    root.normalize_hrefs(str(folder / "catalog"))
    root.save(pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog" / "catalog.json"


def elevation(longitude, latitude):
    """Return the elevation (m) of a tilted plane."""
    return 2000 + 10_000 * (latitude - 45.1) + 5_000 * (longitude - 10.2)


def make_elevation(folder):
    """Return an item of elevation in longitude and latitude, 0.001 degree."""
    folder.mkdir(parents=True, exist_ok=True)
    west, north, step = 10.2, 45.2, 0.001
    centres = (np.arange(200) + 0.5) * step
    numbers = elevation(west + centres, (north - centres)[:, np.newaxis]).astype(np.float32)
    path = folder / "dem.tif"
    transform = from_origin(west, north, step, step)
    write_raster(path, numbers, step, -9999, "EPSG:4326", transform)
    box = [west, north - 0.2, west + 0.2, north]
    ring = [
        [box[0], box[1]],
        [box[2], box[1]],
        [box[2], box[3]],
        [box[0], box[3]],
        [box[0], box[1]],
    ]
    item = pystac.Item(
        "dem", {"type": "Polygon", "coordinates": [ring]}, box,
        pystac.utils.str_to_datetime("2015-01-01T00:00:00Z"), {}, collection="cop-dem-glo-30",
    )  # fmt: skip
    item.stac_extensions.append(PROJECTION)
    extra = {
        "proj:epsg": 4326, "proj:shape": [200, 200],
        "proj:transform": [step, 0, west, 0, -step, north],
    }  # fmt: skip
    item.add_asset(
        "data", pystac.Asset(str(path), media_type="image/tiff", roles=["data"], extra_fields=extra)
    )
    return item


SUN = {"view:sun_azimuth": 150.0, "view:sun_elevation": 50.0}


def told(baseline, tile="32TMS", **more):
    """Return the properties of an item."""
    return {**SUN, "s2:processing_baseline": baseline, "s2:mgrs_tile": tile, **more}


CLOUDY = ((0, 16, 48, 64, 9), (16, 24, 48, 64, 3), (24, 32, 48, 64, 1))

SCENES = (
    # One day, two tiles, two baselines: the left and the right part, which overlap.
    Scene(name="old", time="2021-08-01T10:30:00Z", properties=told("03.01"), columns=(0, 40)),
    Scene(
        name="new", time="2021-08-01T10:30:10Z", properties=told("05.00", "32TNS"), shift=1000,
        keys=PLANETARY, columns=(24, 64), classes=CLOUDY,
    ),
    # One scene processed twice.
    Scene(
        name="first", time="2022-08-05T10:30:00Z", properties=told("04.00"), shift=1000, day=1,
    ),
    Scene(
        name="again", time="2022-08-05T10:30:00.4Z", shift=1000, day=1,
        properties=told("05.10", **{"eo:cloud_cover": 30.0}),
    ),
    # The provider took the shift away and says so.
    Scene(
        name="harmonised", time="2023-08-03T10:30:00Z", day=2,
        properties=told(
            "05.09", **{"earthsearch:boa_offset_applied": True, "eo:cloud_cover": 80.0}
        ),
    ),
)  # fmt: skip

MISLABELLED = Scene(
    # The shift is gone, but nothing says so.
    name="mislabelled", time="2023-08-13T10:30:00Z", day=3, properties=told("05.09"),
)  # fmt: skip
