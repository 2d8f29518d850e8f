"""Numbers come out of pickles as they went in; nothing else is touched."""

import collections
import os
import pickle

import numpy as np
import pytest

from glaciercube.errors import WeightsError
from glaciercube.model.pickled_numbers import read

ARRAY = np.arange(6, dtype=np.float32) / 7
TABLE = np.arange(12.0).reshape(3, 4)

NUMBERS = {
    "arrays": (ARRAY, -ARRAY),
    "features": ({"grd": np.float32(0.5), "insar": 0.25}, {"grd": ARRAY, "insar": 3}),
    "order": (TABLE.T, np.asfortranarray(TABLE)),
    "big endian": ARRAY.astype(">f8"),
    "integers": [1, -2, 2**40, np.int16(5), np.arange(3, dtype=np.uint8)],
    "the same twice": (ARRAY, ARRAY, {"a": ARRAY}),
    "scalars": [np.array(3.0), 2.5, True, False, None, "name"],
    "four": (1, 2, 3, 4),
}


def put(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("what", NUMBERS)
def test_numbers_are_those_of_the_pickle(tmp_path, what, protocol):
    path = put(tmp_path / "stats.pickle", pickle.dumps(NUMBERS[what], protocol))
    found = read(path)
    np.testing.assert_equal(found, NUMBERS[what])
    assert type(found) is type(NUMBERS[what])


class Touches:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: np.array([one, 1], object)])
def test_nothing_is_called(tmp_path, wrap, protocol):
    there = tmp_path / "there"
    path = put(tmp_path / "stats.pickle", pickle.dumps(wrap(Touches(there)), protocol))
    with pytest.raises(WeightsError, match=r"asks for (posix|nt).mkdir|asks for an array of 'O8'"):
        read(path)
    assert not there.exists()


@pytest.mark.parametrize(
    ("what", "match"),
    [
        (os.getcwd, "asks for posix.getcwd|asks for nt.getcwd"),
        (collections.OrderedDict(a=1), "asks for collections.OrderedDict"),
        ({1, 2}, "asks for the operation EMPTY_SET"),
        (np.array(["a"]), "asks for an array of 'U1'"),
        (np.float64, "asks for numpy.float64"),
    ],
)
def test_other_things_are_refused_by_name(tmp_path, what, match):
    path = put(tmp_path / "stats.pickle", pickle.dumps(what, 4))
    with pytest.raises(WeightsError, match=f"{match}.*nothing of it was run: write them as JSON"):
        read(path)


def test_a_call_of_what_was_built_is_refused(tmp_path):
    content = b"\x80\x04K\x01K\x02\x85R."  # calls the number 1
    with pytest.raises(WeightsError, match="asks for a call of int"):
        read(put(tmp_path / "stats.pickle", content))


def test_a_state_of_what_has_none_is_refused(tmp_path):
    content = b"\x80\x04K\x01K\x02b."  # gives the number 1 a state
    with pytest.raises(WeightsError, match="asks for a state of int"):
        read(put(tmp_path / "stats.pickle", content))


@pytest.mark.parametrize(
    "content", [b"", b"hello", pickle.dumps(NUMBERS["arrays"])[:-40], b"\x80\x04e."]
)
def test_what_is_no_pickle_is_refused(tmp_path, content):
    with pytest.raises(WeightsError, match="it is no pickle of such"):
        read(put(tmp_path / "stats.pickle", content))


def test_a_list_that_is_named_very_often_is_refused(tmp_path):
    laughs = [1]
    for _ in range(6):
        laughs = [laughs] * 20
    with pytest.raises(WeightsError, match="more than 10000 values, or lists within lists"):
        read(put(tmp_path / "stats.pickle", pickle.dumps(laughs)))


def test_a_list_that_holds_itself_is_refused(tmp_path):
    ring = []
    ring.append(ring)
    with pytest.raises(WeightsError, match="lists within lists"):
        read(put(tmp_path / "stats.pickle", pickle.dumps(ring)))


def test_a_large_file_is_not_looked_at(tmp_path):
    with pytest.raises(WeightsError, match="has 1048577 bytes, and statistics have some hundred"):
        read(put(tmp_path / "stats.pickle", bytes(2**20 + 1)))
