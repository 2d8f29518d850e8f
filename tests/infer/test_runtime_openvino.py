"""Networks in OpenVINO: the same scores, in every shape, from any thread and any process."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import torch
from cards import make_card
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.infer import runtime_openvino, runtimes, threads
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model import networks
from glaciercube.model.zoo import card_of
from infer.simulated_tiles import tiles

WHOLE = (slice(None), slice(None))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Load networks anew in each test."""
    monkeypatch.setattr(runtimes, "_runtimes", {})
    monkeypatch.setattr(runtimes, "loads", type(runtimes.loads)())
    yield
    threads.set_policy(None)


@pytest.fixture
def unet_card(tmp_path):
    """Return the card of a U-Net of stride 4 and halo 24."""
    arguments = {"width": 8, "depth": 2}
    return make_card(tmp_path, seed=3, architecture="unet", arguments=arguments, halo=24, stride=4)


def noise(*shape):
    return np.random.default_rng(len(shape) + shape[-1]).normal(size=shape).astype(np.float32)


def scores(card, choice, images, inner=WHOLE):
    return runtime_of(ref_for(card, choice)).scores(images, inner)


def same_classes(one, other):
    return (one.argmax(1) == other.argmax(1)).mean()


def test_float32_gives_the_scores_of_torch(card):
    images = noise(3, 4, 48, 33)
    inner = (slice(3, 40), slice(0, 33))
    found = scores(card, "openvino", images, inner)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, scores(card, "torch-eager", images, inner), atol=1e-4)


def test_no_images_give_no_scores(card):
    assert scores(card, "openvino", noise(0, 4, 8, 8)).shape[:2] == (0, 5)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (21, 30), (64, 40), (97, 96)])
def test_any_size_is_taken(unet_card, size):
    images = noise(2, 4, *size)
    expected = scores(unet_card, "torch-eager", images)
    np.testing.assert_allclose(scores(unet_card, "openvino", images), expected, atol=1e-4)


def test_a_tile_with_its_halo_gives_the_whole_images_result(unet_card):
    images = noise(1, 4, 160, 128)
    whole = softmax(scores(unet_card, "openvino", images))
    tile = np.ascontiguousarray(images[:, :, 40:112, 24:96])
    found = softmax(scores(unet_card, "openvino", tile, (slice(24, 48), slice(24, 48))))
    np.testing.assert_allclose(found, whole[:, :, 64:88, 48:72], rtol=0, atol=1e-6)


def softmax(found):
    shares = np.exp(found - found.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def test_bfloat16_agrees_in_nearly_all_classes_of_a_trained_network(monkeypatch):
    if not runtime_openvino.has_bfloat16("cpu"):
        pytest.skip("this CPU does not compute in bfloat16")
    card = card_of("facies")
    expected = scores(card, "torch-eager", tiles())
    found = scores(card, "openvino-bfloat16", tiles())
    assert 0 < abs(found - expected).max()
    assert same_classes(found, expected) > 0.998


def test_integers_agree_in_nearly_all_classes_of_a_trained_network():
    card = card_of("facies")
    expected = scores(card, "torch-eager", tiles())
    found = scores(card, "openvino-int8", tiles())
    assert 0 < abs(found - expected).max()
    assert same_classes(found, expected) >= 0.999


def test_bfloat16_is_refused_where_the_cpu_has_none(card, monkeypatch):
    monkeypatch.setattr(runtime_openvino, "has_bfloat16", lambda place: False)
    with pytest.raises(WeightsError, match="needs a CPU that computes in bfloat16.*use 'openvino'"):
        runtime_of(ref_for(card, "openvino-bfloat16"))


# --- threads


def test_its_threads_are_those_of_the_process_and_are_not_pinned(card):
    threads.set_policy(threads.Policy(2, 1))
    network = runtime_of(ref_for(card, "openvino"))._network
    settings = {name: network.get_property(name) for name in ("NUM_STREAMS", "ENABLE_CPU_PINNING")}
    assert settings == {"NUM_STREAMS": 2, "ENABLE_CPU_PINNING": False}
    assert network.get_property("INFERENCE_NUM_THREADS") == 2
    assert network.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


@pytest.mark.parametrize("policy", [threads.Policy(2, 1), threads.Policy(1, 2)])
def test_several_threads_get_what_one_gets(unet_card, policy):
    threads.set_policy(policy)
    runtime = runtime_of(ref_for(unet_card, "openvino"))
    generator = np.random.default_rng(0)
    given = [noise(1 + n % 3, 4, *generator.integers(9, 90, 2)) for n in range(12)]
    kept = [images.copy() for images in given]
    alone = [runtime.scores(images, WHOLE) for images in given]
    order = generator.integers(0, len(given), 120)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: runtime.scores(given[n], WHOLE), order))
    for number, one in zip(order, found, strict=True):
        np.testing.assert_array_equal(one, alone[number])
    for images, before in zip(given, kept, strict=True):
        np.testing.assert_array_equal(images, before)
    assert len(runtime._idle) == policy.slots


def test_the_number_of_threads_changes_no_bit(unet_card):
    images, found = noise(2, 4, 64, 61), []
    for policy in (threads.Policy(1, 1), threads.Policy(1, 2), threads.Policy(2, 1)):
        threads.set_policy(policy)
        runtimes.forget()
        found.append(scores(unet_card, "openvino", images))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_images_that_must_not_be_written_are_taken_and_left(card):
    images = noise(2, 4, 30, 30)
    before = images.copy()
    images.flags.writeable = False
    scores(card, "openvino", images)
    np.testing.assert_array_equal(images, before)


# --- processes


def answer(script, *arguments):
    """Return what a script prints in a process of its own."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=root,
        env={"PATH": "", "PYTHONPATH": str(root), "HOME": str(arguments[0])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


FORKED = """
import multiprocessing, sys
from pathlib import Path
import numpy as np
from glaciercube.infer import threads
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model.card import read_card

threads.set_policy(threads.Policy(2, 1))
ref = ref_for(read_card(next(Path(sys.argv[1]).glob("*.json"))), sys.argv[2])
image = np.ones((1, 4, 40, 40), np.float32)

def total(queue):
    queue.put(float(runtime_of(ref).scores(image, (slice(0, 40), slice(0, 40))).sum()))

context = multiprocessing.get_context("fork")
queue = context.Queue()
total(queue)
child = context.Process(target=total, args=(queue,))
print(queue.get(timeout=60))
child.start()
print(queue.get(timeout=60))
child.join(60)
print(child.exitcode)
"""


def test_a_forked_process_loads_its_own(card, tmp_path):
    parent, child, code = answer(FORKED, tmp_path, "openvino")
    assert child == parent
    assert code == "0"


def total(ref):
    image = np.ones((1, 4, 40, 40), np.float32)
    return float(runtime_of(ref).scores(image, (slice(0, 40), slice(0, 40))).sum())


def test_a_process_of_dask_gives_the_same(card):
    ref = ref_for(card, "openvino")
    (found,) = dask.compute(dask.delayed(total)(ref), scheduler="processes", num_workers=1)
    assert found == pytest.approx(total(ref), rel=1e-5)


GROWTH = """
import sys
from pathlib import Path
import numpy as np
from glaciercube.infer import threads
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model.card import read_card

threads.set_policy(threads.Policy(1, 1))
runtime = runtime_of(ref_for(read_card(next(Path(sys.argv[1]).glob("*.json"))), "openvino"))
sizes = np.random.default_rng(0).integers(60, 160, (110, 2)).tolist()

def memory(part):
    for size in [(160, 160), *part]:
        runtime.scores(np.zeros((1, 4, *size), np.float32), (slice(0, 9), slice(0, 9)))
    return int(open("/proc/self/statm").read().split()[1]) * 4096 // 2**20

print(memory(sizes[:60]), memory(sizes[60:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_new_shapes_do_not_take_more_and_more_memory(tmp_path):
    make_card(tmp_path, architecture="unet", arguments={"width": 16}, halo=96, stride=16)
    before, after = map(int, answer(GROWTH, tmp_path))
    assert after - before < 16  # MB; 40 where OpenVINO keeps what it made for each shape


SILENT = """
import socket, sys
from pathlib import Path

def refuse(*arguments, **options):
    raise AssertionError("a connection was opened")

socket.socket.connect = socket.getaddrinfo = refuse
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model.card import read_card
from glaciercube.optional import load

runtime_of(ref_for(read_card(next(Path(sys.argv[1]).glob("*.json"))), "openvino"))
load("nncf")
print("openvino_telemetry" in sys.modules)
"""


def test_nothing_is_reported_and_nothing_is_left_at_home(card, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert answer(SILENT, tmp_path) == ["False"]
    assert sorted(tmp_path.rglob("*")) == before


# --- networks that it does not take


class Counting(nn.Conv2d):
    """A network that counts in Python, so that following it once freezes what it counted."""

    def __init__(self, bands, categories):
        super().__init__(bands, categories, 1)

    def forward(self, image):
        return super().forward(image) * (2.0 if len(image) > 1 else 1.0)


class Strange(nn.Conv2d):
    """A network with an operation that OpenVINO does not know."""

    def __init__(self, bands, categories):
        super().__init__(bands, categories, 1)

    def forward(self, image):
        return torch.special.bessel_j0(super().forward(image))


class Shrinking(nn.Conv2d):
    """A network whose result is smaller than the image."""

    def __init__(self, bands, categories):
        super().__init__(bands, categories, 3)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Counting, r"gives other scores than .* an image of \(2, 4, 65, 128\).*runtime='torch'"),
        (Strange, "OpenVINO does not take the network of 'small-facies'.*runtime='torch'"),
        (Shrinking, r"must give scores of shape \(1, 5, 64, 64\), found \(1, 5, 62, 62\)"),
    ],
)
def test_a_network_that_would_run_otherwise_is_refused(tmp_path, monkeypatch, kind, text):
    monkeypatch.setattr(networks, "NETWORKS", {"own": kind})
    card = make_card(tmp_path, architecture="own", arguments={}, halo=0)
    with pytest.raises(WeightsError, match=text):
        runtime_of(ref_for(card, "openvino"))


def test_a_network_of_one_window_is_followed_on_that(tmp_path, monkeypatch):
    class Placed(nn.Conv2d):
        def __init__(self, bands, categories):
            super().__init__(bands, categories, 1)
            self.place = nn.Parameter(torch.randn(24, 24))

        def forward(self, image):
            return super().forward(image) + self.place

    monkeypatch.setattr(networks, "NETWORKS", {"own": Placed})
    card = make_card(tmp_path, architecture="own", arguments={}, halo=0, exact=False, window=24)
    images = noise(2, 4, 24, 24)
    expected = scores(card, "torch-eager", images)
    np.testing.assert_allclose(scores(card, "openvino", images), expected, atol=1e-4)


# --- calibrated files


def copied(folder):
    """Return the calibrated bundled card with its files in a folder of their own."""
    card = card_of("facies")
    for file in Path(card.weights).parent.glob("facies*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return replace(card, weights=str(folder / "facies.safetensors"))


def with_hash(card, suffix):
    """Return a card that says the hash that the file has."""
    file = Path(card.weights).with_name("facies-int8.xml").with_suffix(suffix)
    key = "sha256" if suffix == ".xml" else "sha256_bin"
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    return replace(card, quantized={**card.quantized, key: found})


def test_a_card_that_was_not_calibrated_says_how_to(card):
    with pytest.raises(WeightsError, match=r"'small-facies' has none.*calibrate\(card, images\)"):
        runtime_of(ref_for(card, "openvino-int8"))


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_changed_file_is_not_opened(tmp_path, suffix):
    card = copied(tmp_path)
    file = (tmp_path / "facies-int8.xml").with_suffix(suffix)
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(WeightsError, match=rf"facies-int8\{suffix}' needs sha256 .*, found"):
        runtime_of(ref_for(card, "openvino-int8"))


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_missing_file_is_named(tmp_path, monkeypatch, suffix):
    card = replace(copied(tmp_path), quantized={**card_of("facies").quantized, "file": "own.xml"})
    for kind in {".xml", ".bin"} - {suffix}:
        (tmp_path / f"facies-int8{kind}").rename(tmp_path / f"own{kind}")
    with pytest.raises(WeightsError, match=rf"8-bit network at '.*own\{suffix}' \(.xml and .bin\)"):
        runtime_of(ref_for(card, "openvino-int8"))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime_openvino, "LARGEST", {".xml": 100, ".bin": 100})
    with pytest.raises(WeightsError, match=r"facies-int8.xml' may have 100 bytes, found \d+"):
        runtime_of(ref_for(copied(tmp_path), "openvino-int8"))


def test_a_file_that_openvino_does_not_read_is_named(tmp_path):
    card = copied(tmp_path)
    (tmp_path / "facies-int8.xml").write_text("<net></net>")
    with pytest.raises(WeightsError, match=r"OpenVINO cannot read '.*facies-int8.xml'"):
        runtime_of(ref_for(with_hash(card, ".xml"), "openvino-int8"))


def test_a_file_of_other_weights_is_refused(tmp_path):
    card = copied(tmp_path)
    other = make_card(tmp_path, seed=9)
    card = replace(card, weights=other.weights, sha256=other.sha256)
    with pytest.raises(WeightsError, match=f"must be of the weights with sha256 {other.sha256}"):
        runtime_of(ref_for(card, "openvino-int8"))
