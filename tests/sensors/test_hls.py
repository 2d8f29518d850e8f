"""HLS: what its mask says and what its bands share."""

from glaciercube.sensors import rows_of


def test_the_mask_is_that_of_the_user_guide():
    for row in rows_of("hls"):
        (mask,) = row.quality
        assert mask.nodata == 255
        assert mask.flags == {"cloud": (1,), "cloud_shadow": (3,), "snow": (4,), "water": (5,)}
        assert row.nodata == (-9999,)
        assert row.dtype == "int16"


def test_both_share_the_narrow_near_infrared_under_different_keys():
    keys = {row.name: row.band("nir08").keys[0] for row in rows_of("hls")}
    assert keys == {"hls-l30": "B05", "hls-s30": "B8A"}
