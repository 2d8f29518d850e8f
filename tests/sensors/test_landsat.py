"""Landsat against what its documents state."""

import json

import pytest

from glaciercube.sensors import sensor_of_document


def bits_of(asset):
    """Return the bits that a document names, by name."""
    return {field["name"]: field["offset"] for field in asset["classification:bitfields"]}


@pytest.mark.parametrize("name", ["LC08_L2SP_047027", "LT05_L2SP_010067"])
def test_landsat_bits_are_those_of_the_documents(real_data, name):
    path = next((real_data("stac-items") / "stactools-landsat-c2l2").glob(f"{name}*.json"))
    document = json.loads(path.read_text())
    row = sensor_of_document(document)
    pixel, radsat = row.quality
    told = bits_of(document["assets"]["qa_pixel"])
    assert pixel.flags["defect"] == (told["fill"],)
    assert pixel.flags["cloud_shadow"] == (told["cloud_shadow"],)
    assert pixel.flags["snow"] == (told["snow"],)
    assert pixel.flags["water"] == (told["water"],)
    clouds = {told[key] for key in ("cloud", "dilated_cloud", "cirrus") if key in told}
    assert clouds <= set(pixel.flags["cloud"])
    told = bits_of(document["assets"]["qa_radsat"])
    keys = {band.name: band.assets["landsatlook-2020"] for band in row.bands}
    numbers = [int(key.removeprefix("SR_B").removesuffix(".TIF")) for key in keys.values()]
    assert set(radsat.flags["saturated"]) == {told[f"band{number}"] for number in numbers}
    assert radsat.flags["defect"] == (told.get("dropped", told.get("occlusion")),)


def test_landsat_scale_is_that_of_the_documents(real_data):
    folder = real_data("stac-items") / "stactools-landsat-c2l2"
    for path in folder.glob("*.json"):
        document = json.loads(path.read_text())
        row = sensor_of_document(document)
        for band in row.bands:
            (told,) = document["assets"][band.name]["raster:bands"]
            assert told["scale"] == row.scale
            assert told["offset"] == pytest.approx(row.offset * row.scale)
            assert told["data_type"] == row.dtype
            assert told["nodata"] in row.nodata
