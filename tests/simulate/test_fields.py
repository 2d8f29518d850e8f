import numpy as np

from glaciercube.simulate.fields import noise, ramp, resample, share


def test_noise_is_standard_and_the_same_for_a_seed():
    first = noise((60, 80), 10, np.random.default_rng(4), scale_m=300)
    again = noise((60, 80), 10, np.random.default_rng(4), scale_m=300)
    other = noise((60, 80), 10, np.random.default_rng(5), scale_m=300)
    assert first.shape == (60, 80)
    assert first.dtype == np.float32
    np.testing.assert_allclose([first.mean(), first.std()], [0, 1], atol=1e-3)
    assert (first == again).all()
    assert not np.allclose(first, other)


def test_noise_of_a_larger_scale_varies_more_slowly():
    def step(scale_m):
        field = noise((128, 128), 10, np.random.default_rng(6), scale_m=scale_m)
        return np.abs(np.diff(field, axis=1)).mean()

    assert step(1000) < step(200) / 2


def test_noise_does_not_match_at_opposite_borders():
    field = noise((64, 64), 10, np.random.default_rng(7), scale_m=1000, roughness=2.5)
    inside = np.abs(np.diff(field, axis=1)).mean()
    assert np.abs(field[:, 0] - field[:, -1]).mean() > 3 * inside


def test_share_spreads_a_normal_field_evenly():
    values = share(np.random.default_rng(8).standard_normal(20_000))
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert abs(counts - 2000).max() < 200


def test_ramp_never_falls():
    values = ramp(np.linspace(-2, 2, 101), -1, 1)
    assert (np.diff(values) >= 0).all()
    assert values[0] == 0
    assert values[-1] == 1


def test_resample_keeps_values_on_the_grid_and_planes_between():
    rows, columns = np.mgrid[0:12, 0:10].astype(np.float32)
    field = 3 * rows + 2 * columns
    same = resample(field, (12, 10), np.array([0, 11, 0, 9]))
    np.testing.assert_allclose(same, field, atol=1e-4)
    fine = resample(field, (21, 15), np.array([2, 8, 2, 7]))
    y, x = np.meshgrid(np.linspace(2, 8, 21), np.linspace(2, 7, 15), indexing="ij")
    np.testing.assert_allclose(fine, 3 * y + 2 * x, atol=1e-4)
