import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from glaciercube.simulate.rasters import write_cog

GRID = GeoBox.from_bbox((500_000, 5_000_000, 503_000, 5_002_000), "EPSG:32632", resolution=10)


def test_a_cog_is_tiled_with_overviews_and_says_it_is_simulated(tmp_path):
    values = np.arange(200 * 300, dtype=np.uint16).reshape(200, 300)
    write_cog(tmp_path / "a.tif", values, GRID, nodata=0, tags={"made": "today"})
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.profile["tiled"]
        assert source.overviews(1)
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert source.nodata == 0
        assert source.crs.to_epsg() == 32632
        assert source.transform == GRID.affine
        assert source.tags()["glaciercube_simulated"] == "true"
        assert source.tags()["made"] == "today"
        np.testing.assert_array_equal(source.read(1), values)


def test_overviews_of_codes_hold_no_new_codes(tmp_path):
    codes = np.random.default_rng(0).choice(np.uint8([0, 8, 255]), (200, 300))
    write_cog(tmp_path / "b.tif", codes, GRID, nodata=255, overviews="nearest")
    with rasterio.open(tmp_path / "b.tif", overview_level=0) as source:
        assert set(np.unique(source.read(1))) <= {0, 8, 255}
