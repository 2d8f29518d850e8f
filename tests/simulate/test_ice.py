import numpy as np

from glaciercube.simulate.ice import thickness


def valley():
    """Return a valley that falls to the south, 64 x 48 cells of 80 m."""
    rows, columns = np.mgrid[0:64, 0:48].astype(np.float32)
    return 3600 - 20 * rows + 0.9 * np.abs(columns - 24) ** 2


def test_ice_flows_below_the_equilibrium_line_but_not_far():
    bed = valley()
    ice = thickness(bed, 80, 3200, favour_m=np.zeros_like(bed))
    glacier = ice > 5
    assert glacier.any()
    lowest = bed[glacier].min()
    assert 2450 < lowest < 3150
    assert ice.max() < 400
    assert (ice >= 0).all()
    assert np.isfinite(ice).all()


def test_a_tongue_lies_in_its_valley():
    bed = valley()
    ice = thickness(bed, 80, 3200, favour_m=np.zeros_like(bed))
    below = (bed + ice < 3150) & (ice > 5)
    columns = np.nonzero(below)[1]
    assert abs(columns.mean() - 24) < 3


def test_a_colder_climate_gives_more_ice():
    bed = valley()
    nothing = np.zeros_like(bed)
    volumes = [thickness(bed, 80, ela, favour_m=nothing).sum() for ela in (3400, 3200, 3000)]
    assert volumes[0] < volumes[1] < volumes[2]


def test_no_ice_where_the_line_lies_above_everything():
    bed = valley()
    assert thickness(bed, 80, bed.max() + 100, favour_m=np.zeros_like(bed)).max() == 0


def test_shade_keeps_ice():
    bed = valley()
    favour = np.zeros_like(bed)
    favour[:, :24] = 200
    ice = thickness(bed, 80, 3400, favour_m=favour)
    assert ice[:, :24].sum() > 1.3 * ice[:, 25:].sum()


def test_steep_walls_stay_bare():
    bed = valley()
    bed[:, 40:] += 150 * np.arange(8, dtype=np.float32)  # 62 degrees
    ice = thickness(bed, 80, 3000, favour_m=np.zeros_like(bed))
    assert ice[5:40, 43:46].max() < 0.2 * ice[5:40, 24].max()
