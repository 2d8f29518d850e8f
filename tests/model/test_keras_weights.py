"""What is read of Keras files, and what is refused."""

import numpy as np
import pytest

from glaciercube import optional
from glaciercube.errors import WeightsError
from glaciercube.model import keras_weights
from glaciercube.model.keras_weights import read

h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install 'glaciercube[keras]'")


def make(path, arrays, **options):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = sorted({name.split("/")[0].encode() for name in arrays})
        for name, values in arrays.items():
            file.create_dataset(name, data=values, **options)
    return path


ONE = np.ones((2, 3), np.float32)


def test_layers_have_their_rank_among_those_of_their_kind(tmp_path):
    names = {
        "dense_9/dense_9/kernel:0": "dense.0/kernel",
        "dense_10/dense_10/kernel:0": "dense.1/kernel",
        "act_x2_3/conv2d_11/kernel:0": "act_x2.0/conv2d.1/kernel",
        "act_x2_3/conv2d_9/kernel:0": "act_x2.0/conv2d.0/kernel",
        "act_x2_3/conv2d_9/bias:0": "act_x2.0/conv2d.0/bias",
        "act_x2_12/conv2d/kernel:0": "act_x2.1/conv2d.0/kernel",
    }
    arrays = {name: np.full(2, at, np.float32) for at, name in enumerate(names)}
    found = read(make(tmp_path / "weights.h5", arrays))
    assert {name: float(found[names[name]][0]) for name in names} == {
        name: float(at) for at, name in enumerate(names)
    }
    assert set(found) == set(names.values())


def test_numbers_become_float32(tmp_path):
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": np.float64([1, 2])}, compression="gzip")
    assert read(path)["a.0/kernel"].dtype == np.float32


def test_weights_of_a_saved_model_are_found(tmp_path):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"dense"]
        group["dense/dense/kernel:0"] = ONE
    assert list(read(tmp_path / "model.h5")) == ["dense.0/kernel"]


def test_no_file_is_said(tmp_path):
    with pytest.raises(WeightsError, match="no such file; download it"):
        read(tmp_path / "weights.h5")


def test_something_else_shows_how_it_starts(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8\n")
    match = r"an .h5 file of Keras 2.*starts with b'version https://git-lfs.*and is no HDF5"
    with pytest.raises(WeightsError, match=match):
        read(path)


def test_a_truncated_file_is_refused(tmp_path):
    whole = make(tmp_path / "weights.h5", {"a/a/kernel:0": np.zeros((300, 300), np.float32)})
    whole.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="starts with b'.x89HDF"):
        read(whole)


def test_a_pickle_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="runs code when it is opened"):
        read(tmp_path / "weights.pickle")


def test_other_hdf5_shows_what_it_has(tmp_path):
    with h5py.File(tmp_path / "tiles.h5", "w") as file:
        file["tile_0/optical"] = ONE
    with pytest.raises(WeightsError, match=r"HDF5 with \['tile_0'\] and lists no layers of Keras"):
        read(tmp_path / "tiles.h5")


def test_keras_3_is_named(tmp_path):
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = ONE
    with pytest.raises(WeightsError, match="it is of Keras 3; save it with Keras 2"):
        read(tmp_path / "a.weights.h5")


@pytest.mark.parametrize(
    "link",
    [h5py.SoftLink("/a/a/kernel:0"), h5py.ExternalLink("/etc/passwd", "/")],
    ids=["soft", "external"],
)
def test_links_are_not_followed(tmp_path, link):
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": ONE})
    with h5py.File(path, "a") as file:
        file["a/b"] = link
    with pytest.raises(WeightsError, match="'a/b' is a link to another place"):
        read(path)


def test_a_group_that_holds_itself_ends(tmp_path):
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": ONE})
    with h5py.File(path, "a") as file:
        file["a/a/a"] = file["a"]
    with pytest.raises(WeightsError, match="more than 20000 layers, or 16 in depth"):
        read(path)


def test_numbers_of_another_file_are_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(24))
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": ONE})
    with h5py.File(path, "a") as file:
        file.create_dataset("a/b", (6,), "f4", external=[(str(secret), 0, 24)])
    with pytest.raises(WeightsError, match="numbers of 'a/b' lie in another file"):
        read(path)


def test_numbers_that_are_views_of_another_file_are_not_read(tmp_path):
    make(tmp_path / "other.h5", {"a/a/kernel:0": ONE})
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "a/a/kernel:0", (2, 3))
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": ONE})
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("a/b", layout)
    with pytest.raises(WeightsError, match="numbers of 'a/b' lie in another file"):
        read(path)


@pytest.mark.parametrize("values", [np.int32([1]), np.bytes_(b"import os"), h5py.Empty("f4")])
def test_what_is_no_number_is_refused(tmp_path, values):
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": values})
    with pytest.raises(WeightsError, match="'a/a/kernel:0' holds .*, no numbers"):
        read(path)


def test_the_size_is_looked_at_before_the_numbers(tmp_path, monkeypatch):
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": ONE})
    with h5py.File(path, "a") as file:
        file.create_dataset("a/b", (2**40,), "f4", chunks=(1024,), compression="gzip")
    with pytest.raises(WeightsError, match="its arrays have more than 1073741824 bytes"):
        read(path)


def test_other_compressions_are_refused(tmp_path):
    path = make(
        tmp_path / "weights.h5", {"a/a/kernel:0": np.zeros((8, 8), np.float32)}, scaleoffset=4
    )
    with h5py.File(path, "r") as file:
        assert file["a/a/kernel:0"].compression is None
    found = read(path)["a.0/kernel"]
    assert found.shape == (8, 8)


def test_nan_is_refused(tmp_path):
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": np.float32([1, np.nan])})
    with pytest.raises(WeightsError, match="'a/a/kernel:0' holds NaN or infinity"):
        read(path)


def test_a_missing_h5py_names_its_extra(tmp_path, monkeypatch):
    path = make(tmp_path / "weights.h5", {"a/a/kernel:0": ONE})

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(optional, "import_module", missing)
    with pytest.raises(ImportError, match=r"needs the package 'h5py'.*'glaciercube\[keras\]'"):
        keras_weights.read(path)
