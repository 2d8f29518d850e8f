"""Cloud-optimised GeoTIFFs of simulated layers."""

from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

BLOCK = 128
"""Side of a tile (pixels), small so that small scenes have overviews too."""


def write_cog(
    path: Path,
    values: np.ndarray,
    geobox: GeoBox,
    *,
    nodata: float | None,
    overviews: str = "average",
    tags: dict[str, str] | None = None,
) -> None:
    """Write one layer as a cloud-optimised GeoTIFF.

    Parameters
    ----------
    path : Path
    values : array (y, x)
    geobox : GeoBox
    nodata : float, optional
    overviews : str
        Resampling of the overviews: "average", or "nearest" for codes.
    tags : dict of str, optional
        Metadata of the file.
    """
    profile = {
        "driver": "COG",
        "dtype": values.dtype.name,
        "count": 1,
        "height": geobox.shape.y,
        "width": geobox.shape.x,
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "nodata": nodata,
        "blocksize": BLOCK,
        "compress": "DEFLATE",
        "predictor": "YES",
        "overview_resampling": overviews,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(values, 1)
        target.update_tags(**{"glaciercube_simulated": "true", **(tags or {})})
