"""Networks that come as ONNX: their scores, their ends, and what is refused."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import onnx_files
import pytest
import torch
from onnx import TensorProto, helper
from onnx_files import card_of, model_of, onnx_card, same_network

from glaciercube.errors import WeightsError
from glaciercube.infer import runtime_onnx, runtimes, threads
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model import registry
from glaciercube.model.card import read_card, write_card

WHOLE = (slice(None), slice(None))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Load networks anew in each test."""
    monkeypatch.setattr(runtimes, "_runtimes", {})
    monkeypatch.setattr(runtimes, "loads", type(runtimes.loads)())
    yield
    threads.set_policy(None)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(3, 4, 48, 33)).astype(np.float32)


def opened(card):
    return runtime_of(ref_for(card, "onnx"))


def by_hand(images):
    return same_network()(torch.from_numpy(images)).numpy()


def test_scores_are_those_of_the_network(tmp_path, images):
    found = opened(onnx_card(tmp_path)).scores(images, (slice(3, 40), slice(0, 33)))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, by_hand(images)[:, :, 3:40], rtol=0, atol=1e-5)


def test_its_card_is_read_as_it_was_written(tmp_path):
    card = onnx_card(tmp_path)
    again = read_card(write_card(card, tmp_path / "card.json"))
    assert (again.architecture, again.weights) == ("onnx", card.weights)
    text = (tmp_path / "card.json").read_text()
    assert '"mlm:framework": "ONNX"' in text
    assert '"mlm:artifact_type": "ONNX"' in text


def test_several_threads_get_what_one_gets(tmp_path):
    threads.set_policy(threads.Policy(2, 1))
    runtime = opened(onnx_card(tmp_path))
    generator = np.random.default_rng(0)
    given = [
        generator.normal(size=(1 + n % 2, 4, *generator.integers(5, 60, 2))).astype(np.float32)
        for n in range(10)
    ]
    alone = [runtime.scores(one, WHOLE) for one in given]
    order = generator.integers(0, len(given), 100)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: runtime.scores(given[n], WHOLE), order))
    for number, one in zip(order, found, strict=True):
        np.testing.assert_array_equal(one, alone[number])


def test_the_number_of_threads_changes_no_bit(tmp_path, images):
    card, found = onnx_card(tmp_path), []
    for policy in (threads.Policy(1, 1), threads.Policy(1, 2), threads.Policy(2, 1)):
        threads.set_policy(policy)
        runtimes.forget()
        found.append(opened(card).scores(images, WHOLE))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize(("policy", "count"), [((2, 1), 1), ((1, 4), 4), ((2, 3), 5)])
def test_callers_and_pool_together_fill_the_cores(tmp_path, policy, count):
    threads.set_policy(threads.Policy(*policy))
    options = opened(onnx_card(tmp_path))._session.get_session_options()
    assert options.intra_op_num_threads == count
    assert options.inter_op_num_threads == 1
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern


def test_one_image_at_a_time_where_the_network_takes_one(tmp_path, images):
    model = model_of(same_network(), (1, 4, "y", "x"))
    found = opened(card_of(model, tmp_path)).scores(images, WHOLE)
    np.testing.assert_allclose(found, by_hand(images), rtol=0, atol=1e-5)


def test_a_network_of_a_fixed_size_runs_on_that(tmp_path):
    card = card_of(model_of(same_network(), (1, 4, 24, 24)), tmp_path, exact=False, window=24)
    images = np.ones((2, 4, 24, 24), np.float32)
    np.testing.assert_allclose(opened(card).scores(images, WHOLE), by_hand(images), atol=1e-5)
    with pytest.raises(WeightsError, match="does not take images of 30 x 24 pixels"):
        opened(card).scores(np.ones((1, 4, 30, 24), np.float32), WHOLE)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (model_of(same_network(), (1, 4, 24, 24)), r"fixed size, \[24, 24\].*exact=True"),
        (model_of(same_network(), (8, 4, "y", "x")), "any number of images, or one, found 8"),
        (model_of(same_network(categories=6)), "output 'value4' must have 5 channels, found 6"),
    ],
)
def test_ends_that_do_not_fit_the_card_are_named(tmp_path, model, text):
    with pytest.raises(WeightsError, match=f"'small-facies' .*(?s:.*){text}"):
        opened(card_of(model, tmp_path))


def test_another_number_of_bands_is_named(tmp_path):
    card = onnx_card(tmp_path, bands=("green", "red"), mean=(0.0, 0.0), std=(1.0, 1.0))
    with pytest.raises(WeightsError, match="input 'image' must have 2 channels, found 4"):
        opened(card)


def model_like(nodes, outputs=("scores",), dtype=TensorProto.FLOAT, tensors=(), size=None):
    """Return a model of nodes that read "image"."""
    given = helper.make_tensor_value_info("image", dtype, size or onnx_files.SIZE)
    found = [
        helper.make_tensor_value_info(name, dtype, size or ("n", 5, "y", "x")) for name in outputs
    ]
    graph = helper.make_graph(nodes, "network", [given], found, list(tensors))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own.domain", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def convolution(side=1, pad=0, value=1.0, dtype=np.float32):
    """Return a convolution as a node, and its weights."""
    weights = np.full((5, 4, side, side), value, dtype)
    node = helper.make_node("Conv", ["image", "weights"], ["scores"], pads=[pad] * 4)
    return node, onnx.numpy_helper.from_array(weights, "weights")


def test_other_dimensions_are_named(tmp_path):
    model = model_like([helper.make_node("Identity", ["image"], ["scores"])], size=("n", 4, "y"))
    with pytest.raises(WeightsError, match=r"input 'image' must be \(n, 4, y, x\), found"):
        opened(card_of(model, tmp_path))


def test_several_outputs_are_named(tmp_path):
    node, weights = convolution()
    copy = helper.make_node("Identity", ["scores"], ["more"])
    model = model_like([node, copy], ("scores", "more"), tensors=[weights])
    with pytest.raises(WeightsError, match=r"one output is needed, found \['scores', 'more'\]"):
        opened(card_of(model, tmp_path))


def test_numbers_of_another_kind_are_named(tmp_path):
    node, weights = convolution(dtype=np.float16)
    model = model_like([node], dtype=TensorProto.FLOAT16, tensors=[weights])
    with pytest.raises(WeightsError, match=r"input 'image' must be float32.*tensor\(float16\)"):
        opened(card_of(model, tmp_path))


def test_a_result_of_another_size_is_found_when_it_is_opened(tmp_path):
    node, weights = convolution(side=3)
    model = model_like([node], tensors=[weights])
    with pytest.raises(WeightsError, match=r"scores of shape \(1, 5, 64, 64\), found .*62, 62"):
        opened(card_of(model, tmp_path))


def test_scores_that_are_no_numbers_are_found_when_it_is_opened(tmp_path):
    node, weights = convolution(value=np.nan)
    with pytest.raises(WeightsError, match="must give finite scores, found NaN"):
        opened(card_of(model_like([node], tensors=[weights]), tmp_path))


# --- what is in the file, and nothing else


def test_tensors_in_another_file_are_not_read(tmp_path):
    model = onnx_files.moved_outside(model_of(same_network()), tmp_path)
    with pytest.raises(WeightsError, match="whole in itself, but its tensor 'weight0' lies in"):
        opened(card_of(model, tmp_path))


def test_tensors_in_another_file_are_found_wherever_they_are(tmp_path):
    outside = onnx_files.moved_outside(model_of(same_network()), tmp_path).graph.initializer[0]
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=outside)], "g", [], [])
    node = helper.make_node("If", ["image"], ["scores"], then_branch=inner, else_branch=inner)
    with pytest.raises(WeightsError, match="its tensor 'weight0' lies in another file"):
        opened(card_of(model_like([node]), tmp_path))


@pytest.mark.parametrize(
    ("domain", "name"), [("own.domain", "Call"), ("com.microsoft", "EPContext")]
)
def test_operations_that_need_other_code_or_files_are_refused(tmp_path, domain, name):
    node = helper.make_node(name, ["image"], ["scores"], domain=domain)
    with pytest.raises(WeightsError, match=f"it needs the operation {domain}::{name}"):
        opened(card_of(model_like([node]), tmp_path))


def test_functions_that_the_file_has_itself_are_taken(tmp_path):
    node, weights = convolution()
    call = helper.make_node("Same", ["inner"], ["scores"], domain="own.domain")
    node.output[0] = "inner"
    body = [helper.make_node("Identity", ["a"], ["b"])]
    imports = [helper.make_opsetid("", 17)]
    model = model_like([node, call], tensors=[weights])
    model.functions.append(helper.make_function("own.domain", "Same", ["a"], ["b"], body, imports))
    found = opened(card_of(model, tmp_path)).scores(np.ones((1, 4, 5, 5), np.float32), WHOLE)
    np.testing.assert_array_equal(found, np.full((1, 5, 5, 5), 4, np.float32))


def test_a_file_that_is_no_onnx_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"network.onnx' is no whole ONNX file"):
        opened(card_of(b"\x0a\xff\xff", tmp_path))


def test_a_network_that_onnx_runtime_does_not_take_is_named(tmp_path):
    node = helper.make_node("NoSuchOperation", ["image"], ["scores"])
    with pytest.raises(WeightsError, match="ONNX Runtime .* does not take the network of 'small-"):
        opened(card_of(model_like([node]), tmp_path))


def test_a_changed_file_is_not_opened(tmp_path):
    card = onnx_card(tmp_path)
    (tmp_path / "network.onnx").write_bytes(b"other")
    with pytest.raises(WeightsError, match="need sha256 .*, found"):
        opened(card)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime_onnx, "LARGEST", 100)
    with pytest.raises(WeightsError, match=r"network.onnx' may have 100 bytes"):
        opened(onnx_card(tmp_path))


def test_weights_of_torch_are_no_onnx(card):
    changed = replace(card, architecture="onnx", arguments={})
    with pytest.raises(WeightsError, match=r"weights must be an .onnx file, found .*safetensors'"):
        opened(changed)


# --- ways to run it


def test_there_is_no_torch_module(tmp_path):
    card = onnx_card(tmp_path)
    with pytest.raises(WeightsError, match="comes as ONNX and has no torch module; run it with"):
        registry.network_of(card)


@pytest.mark.parametrize("choice", ["torch", "torch-eager", "openvino", "openvino-int8"])
def test_other_ways_do_not_run_it(tmp_path, choice):
    with pytest.raises(WeightsError, match=f"with runtime='onnx' only, found '{choice}'"):
        ref_for(onnx_card(tmp_path), choice)


def test_it_does_not_run_other_networks(card):
    with pytest.raises(WeightsError, match="'small-facies' is of the architecture 'fcn'; use 'tor"):
        ref_for(card, "onnx")


def test_a_gpu_is_used_where_there_is_one_and_the_package_can():
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    (gpu, settings), cpu = runtime_onnx.providers_of("cuda:1", both)
    assert (gpu, cpu) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (settings["device_id"], settings["use_tf32"]) == (1, 0)
    assert runtime_onnx.providers_of("cuda:1", both[1:]) == both[1:]


# --- how far it looks


def test_halo_and_stride_are_measured_on_it(tmp_path):
    found = runtime_onnx.inspect(onnx_card(tmp_path))
    assert (found.exact, found.halo, found.stride, found.analytic_halo) == (True, 3, 1, None)


def test_what_looks_at_the_whole_tile_is_found(tmp_path):
    node, weights = convolution()
    node.output[0] = "inner"
    mean = helper.make_node("GlobalAveragePool", ["inner"], ["mean"])
    added = helper.make_node("Add", ["inner", "mean"], ["scores"])
    card = card_of(model_like([node, mean, added], tensors=[weights]), tmp_path)
    found = runtime_onnx.inspect(card)
    assert not found.exact
    assert "or on the whole tile" in found.reasons[0]
