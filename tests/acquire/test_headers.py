"""What the header of a user's file says."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

from glaciercube.acquire.headers import kind_of, open_header
from glaciercube.errors import AcquireError, GridError, SensorError
from glaciercube.sensors import SENTINEL_2_L1C, SENTINEL_2_L2A

UTM = from_origin(600_000, 5_000_640, 10, 10)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file of 4 x 5 pixels."""

    def write_file(names, *, count=None, dtype="uint16", crs="EPSG:32632", transform=UTM, **more):
        path = tmp_path / "scene_2020.tif"
        count = count or len(names)
        profile = {"driver": "GTiff", "count": count, "dtype": dtype, "height": 4, "width": 5}
        tags = more.pop("tags", {})
        with rasterio.open(path, "w", crs=crs, transform=transform, **profile, **more) as file:
            file.write(np.ones((count, 4, 5), dtype))
            for index, name in enumerate(names, start=1):
                file.set_band_description(index, name)
            file.update_tags(**tags)
        return path

    return write_file


@pytest.mark.parametrize(
    "names", [("B3", "B8", "B11"), ("B03", "B08", "B11"), ("green", "nir", "swir16")]
)
def test_bands_are_told_by_any_of_their_names(write, names):
    raster = open_header(write(("B1", *names, "QA60", "B10")), SENTINEL_2_L1C)
    assert raster.layers == {"coastal": 1, "green": 2, "nir": 3, "swir16": 4, "cirrus": 6}
    assert raster.quality == {"qa60": 5}
    assert raster.cirrus == 6


def test_without_descriptions_the_sensors_order_counts(write):
    raster = open_header(write((), count=10), SENTINEL_2_L2A)
    assert list(raster.layers) == list(SENTINEL_2_L2A.names)
    assert list(raster.layers.values()) == list(range(1, 11))
    assert raster.quality == {}


def test_without_descriptions_another_number_of_bands_is_refused(write):
    with pytest.raises(
        SensorError, match=r"has 3 bands without descriptions.*has 10.*descriptions ="
    ):
        open_header(write((), count=3), SENTINEL_2_L2A)


def test_the_advice_of_that_message_works(write):
    path = write((), count=3)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("green", "nir", "swir16")
    assert list(open_header(path, SENTINEL_2_L2A).layers) == ["green", "nir", "swir16"]


def test_bands_of_another_sensor_are_listed(write):
    with pytest.raises(
        SensorError, match=r"none of the bands of sentinel-2-l2a: it has \['VV_norm'"
    ):
        open_header(write(("VV_norm", "VH_norm")), SENTINEL_2_L2A)


def test_no_crs_names_the_file(write):
    with pytest.raises(GridError, match=r"scene_2020.tif has no coordinate reference system"):
        open_header(write(("green",), crs=None), SENTINEL_2_L2A)


def test_a_turned_grid_is_refused(write):
    turned = UTM @ Affine.rotation(30)
    with pytest.raises(GridError, match="along the axes of EPSG:32632.*gdalwarp"):
        open_header(write(("green",), transform=turned), SENTINEL_2_L2A)


def test_a_grid_that_is_south_up_is_kept(write):
    raster = open_header(write(("green",), transform=Affine(10, 0, 0, 0, 10, 0)), SENTINEL_2_L2A)
    assert raster.geobox.affine.e == 10


def test_what_is_no_raster(tmp_path):
    (tmp_path / "a_2020.tif").write_text("no raster")
    with pytest.raises(AcquireError, match=r"cannot open .*a_2020.tif as a raster"):
        open_header(tmp_path / "a_2020.tif", SENTINEL_2_L2A)
    with pytest.raises(AcquireError, match=r"cannot open .*gone_2020.tif as a raster"):
        open_header(tmp_path / "gone_2020.tif", SENTINEL_2_L2A)


@pytest.mark.parametrize(
    ("tags", "declared"),
    [({}, None), ({"PROCESSING_BASELINE": "04.00"}, -1000), ({"PROCESSING_BASELINE": "02.14"}, 0)],
)
def test_tags_may_declare_an_offset(write, tags, declared):
    told = open_header(write(("green",), tags=tags), SENTINEL_2_L2A).declared
    assert (told and told.offset) == declared


def test_scale_and_offset_of_a_band_declare_one_too(write):
    path = write(("green",))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4,), (-0.1,)
    assert open_header(path, SENTINEL_2_L2A).declared.offset == -1000


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("uint16", "digital numbers"), ("int16", "digital numbers"), ("float32", "reflectance")],
)
def test_numbers_are_of_a_kind(write, dtype, kind):
    assert kind_of(open_header(write(("green",), dtype=dtype), SENTINEL_2_L2A)) == kind


def test_a_preview_image_is_refused(write):
    raster = open_header(write(("green",), dtype="uint8"), SENTINEL_2_L2A)
    with pytest.raises(SensorError, match="found uint8; is it a preview image"):
        kind_of(raster)


def test_identity_changes_with_the_file(write):
    path = write(("green",))
    before = open_header(path, SENTINEL_2_L2A).identity
    write(("green", "nir"))
    assert open_header(path, SENTINEL_2_L2A).identity != before
