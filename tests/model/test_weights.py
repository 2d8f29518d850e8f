import hashlib

import pytest

from glaciercube.errors import WeightsError
from glaciercube.model.weights import check_weights_file, refuse_pickle, sha256_of


def test_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"ice" * 1000)
    assert sha256_of(tmp_path / "w.safetensors") == hashlib.sha256(b"ice" * 1000).hexdigest()


def test_a_corrupt_file_shows_both_hashes(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"ice")
    needed = sha256_of(path)
    path.write_bytes(b"icf")
    with pytest.raises(WeightsError) as caught:
        check_weights_file(path, needed)
    assert f"need sha256 {needed}, found {sha256_of(path)}" in str(caught.value)
    assert "download or copy it again" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"at '.*gone.safetensors', but there is no such file"):
        check_weights_file(tmp_path / "gone.safetensors", "0" * 64)


@pytest.mark.parametrize(
    "suffix", [".pt", ".pth", ".pt2", ".ckpt", ".bin", ".pkl", ".PTH", ".torchscript", ".jit"]
)
def test_files_that_run_code_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"never opened")
    with pytest.raises(
        WeightsError,
        match=f"weights must be a safetensors file, found '.*model{suffix}': .* runs code",
    ):
        check_weights_file(path, sha256_of(path))


def test_safetensors_pass():
    refuse_pickle("model.safetensors", "weights")
