import hashlib
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from glaciercube.errors import WeightsError
from glaciercube.model import tensors
from glaciercube.model.tensors import not_whole, require_finite, shapes_of
from glaciercube.model.weights import sha256_of


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves tensors, and gives the file and its hash."""

    def save(**named):
        path = tmp_path / "some.safetensors"
        save_file(named, path)
        return path, sha256_of(path)

    return save


@pytest.fixture
def reads(monkeypatch):
    """Return a list that grows by each file that is read."""
    found, original = [], tensors.deserialize
    monkeypatch.setattr(tensors, "deserialize", lambda data: (found.append(1), original(data))[1])
    return found


def test_shapes_by_name(saved):
    path, sha256 = saved(weight=torch.zeros(2, 3), count=torch.tensor(3), half=torch.ones(4).half())
    assert dict(shapes_of(path, sha256)) == {"weight": (2, 3), "count": (), "half": (4,)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_named(saved, dtype, value):
    large = torch.tensor([torch.finfo(dtype).max, -torch.finfo(dtype).max, 0], dtype=dtype)
    assert "large" in shapes_of(*saved(large=large))
    broken = torch.tensor([0.5, value], dtype=dtype)
    with pytest.raises(WeightsError, match=r"some.safetensors' must be finite, but \['broken'\] "):
        shapes_of(*saved(large=large, broken=broken))


def test_whole_numbers_are_finite(saved):
    ones = -torch.ones(2, dtype=torch.int16)
    assert shapes_of(*saved(counts=ones, mask=torch.tensor([True]))).keys() == {"counts", "mask"}


def test_a_file_is_read_once_until_it_changes(saved, reads):
    path, sha256 = saved(weight=torch.zeros(2))
    assert shapes_of(path, sha256) is shapes_of(str(path), sha256)
    assert len(reads) == 1
    os.utime(path, ns=(1, 1))
    shapes_of(path, sha256)
    assert len(reads) == 2
    path, other = saved(weight=torch.ones(3))
    with pytest.raises(WeightsError, match=f"need sha256 {sha256}, found {other}"):
        shapes_of(path, sha256)
    assert shapes_of(path, other)["weight"] == (3,)


def test_a_file_that_is_broken_is_read_again(saved, reads):
    path, sha256 = saved(weight=torch.tensor([float("nan")]))
    for _ in range(2):
        with pytest.raises(WeightsError, match="must be finite"):
            shapes_of(path, sha256)
    assert len(reads) == 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="needs its weights at '.*gone.safetensors', but there"):
        shapes_of(tmp_path / "gone.safetensors", "0" * 64)
    with pytest.raises(WeightsError, match=r"weights must be a safetensors file, found .*gone.pt'"):
        shapes_of(tmp_path / "gone.pt", "0" * 64)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "which is a zip archive, such as a PyTorch checkpoint"),
        (b"\x80\x02}q\x00.", "which is a pickle, by its first bytes; save the state dict"),
        (b"\x89HDF\r\n", "which is HDF5"),
        (b"", "some.safetensors': .*; download or save it again"),
    ],
)
def test_what_else_a_file_is_is_said(tmp_path, content, what):
    path = tmp_path / "some.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=what):
        shapes_of(path, hashlib.sha256(content).hexdigest())
    assert "'more'" not in str(not_whole(path, ValueError("more")))


def test_nothing_broken_raises_nothing():
    require_finite([], "of the network FCN")
    with pytest.raises(WeightsError, match=r"weights of the network FCN must be .*\['a', 'b'\]"):
        require_finite(iter("ab"), "of the network FCN")


def test_looking_takes_no_torch(saved):
    path, sha256 = saved(weight=torch.zeros(2, dtype=torch.bfloat16))
    code = (
        "import sys; from glaciercube.model.tensors import shapes_of;"
        f"print(shapes_of({str(path)!r}, {sha256!r})['weight'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2,) False"
