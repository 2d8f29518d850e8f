"""Scaling statistics in all forms a user may have them."""

import json
import pickle

import numpy as np
import pytest

from glaciercube.errors import WeightsError
from glaciercube.model.minmax import limits

FEATURES, BANDS = ("optical", "dem"), ("red", "nir", "elevation")
LOW, HIGH = (0.0, 0.01, -103.0), (2.5, 2.75, 8349.0)
AS_FEATURES = tuple({"optical": list(one[:2]), "dem": one[2], "sar": 1.0} for one in (LOW, HIGH))


@pytest.mark.parametrize(
    "scaling",
    [
        (LOW, HIGH),
        [np.array(LOW), np.array(HIGH)],
        np.array([LOW, HIGH]),
        {"min": LOW, "max": HIGH},
        AS_FEATURES,
        {"min": AS_FEATURES[0], "max": AS_FEATURES[1]},
        ((*LOW, 0), (*HIGH, 1)),
    ],
)
def test_numbers_and_features_are_taken(scaling):
    assert limits(scaling, FEATURES, BANDS) == (LOW, HIGH)


def write(folder, suffix):
    path = folder / f"stats{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(AS_FEATURES))
    elif suffix == ".npz":
        np.savez(path, min=LOW, max=HIGH)
    elif suffix == ".npy":
        np.save(path, np.array([LOW, HIGH]))
    else:
        path.write_bytes(pickle.dumps((np.array(LOW), np.array(HIGH))))
    return path


@pytest.mark.parametrize("suffix", [".json", ".npz", ".npy", ".pickle", ".pkl"])
def test_files_are_read(tmp_path, suffix):
    path = write(tmp_path, suffix)
    assert limits(path, FEATURES, BANDS) == limits(str(path), FEATURES, BANDS) == (LOW, HIGH)


def test_none_says_what_is_needed():
    match = (
        r"needs scaling: the smallest and largest value of each of \['red', 'nir', 'elevation'\]"
    )
    with pytest.raises(WeightsError, match=match):
        limits(None, FEATURES, BANDS)


def test_no_file_is_said(tmp_path):
    with pytest.raises(WeightsError, match=r"but there is no file '.*stats.json'"):
        limits(tmp_path / "stats.json", FEATURES, BANDS)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    path = tmp_path / "stats.npy"
    np.save(path, np.array([LOW, HIGH], object), allow_pickle=True)
    with pytest.raises(
        WeightsError, match="in a file .json, .npz, .npy or .pickle, found .*allow_"
    ):
        limits(path, FEATURES, BANDS)


def test_what_is_no_json_is_said(tmp_path):
    path = tmp_path / "stats.json"
    path.write_text("min 0 max 1")
    with pytest.raises(WeightsError, match="found '.*stats.json': Expecting value"):
        limits(path, FEATURES, BANDS)


@pytest.mark.parametrize("scaling", [(LOW,), {"mean": 1}, (LOW, HIGH, LOW), 5])
def test_something_else_is_shown(scaling):
    with pytest.raises(WeightsError, match=r"\(smallest, largest\), found "):
        limits(scaling, FEATURES, BANDS)


def test_missing_features_are_named():
    match = r"needs the features \['optical', 'dem'\], .*it has \['dem'\]"
    with pytest.raises(WeightsError, match=match):
        limits(({"dem": 1}, {"dem": 2}), FEATURES, BANDS)


@pytest.mark.parametrize("low", [(0.0, 1.0), (0.0, np.nan, 1.0)])
def test_too_few_or_broken_numbers_are_shown(low):
    with pytest.raises(WeightsError, match=r"needs 3 finite numbers, .*found \[0.0, (1.0|nan)"):
        limits((low, HIGH), FEATURES, BANDS)


def test_what_is_no_number_is_shown():
    with pytest.raises(WeightsError, match=r"needs a number for each of .*found \['a'"):
        limits((["a", "b", "c"], HIGH), FEATURES, BANDS)


def test_no_range_is_shown():
    with pytest.raises(WeightsError, match=r"of \['nir'\] scaling has no range: smallest .*2.75"):
        limits(((0.0, 2.75, -1.0), HIGH), FEATURES, BANDS)
