"""Networks that come as ONNX: the same operator, nothing unpickled, nothing read elsewhere."""

import numpy as np
import pytest
import torch
from cards import fields_of

from glaciercube.errors import WeightsError
from glaciercube.infer import runtime_onnx, runtimes, threads
from glaciercube.infer.choices import AUTO, Choice, known
from glaciercube.infer.lazy import predict
from glaciercube.infer.runtimes import ref_for, runtime_of
from glaciercube.model.card import ModelCard, read_card, write_card
from glaciercube.store.reading import read
from glaciercube.store.writing import write

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Load networks anew in each test."""
    monkeypatch.setattr(runtimes, "_runtimes", {})


KERNEL = np.random.default_rng(0).normal(size=(5, 4, 3, 3)).astype(np.float32)


def save(
    path,
    *,
    given=("n", 4, "y", "x"),
    pads=1,
    kind=onnx.TensorProto.FLOAT,
    kernel=KERNEL,
    plain=False,
):
    """Write a network of one convolution, or of nothing at all; return its path."""
    helper = onnx.helper
    node = helper.make_node("Conv", ["image", "kernel"], ["scores"], pads=[pads] * 4)
    if plain:
        node = helper.make_node("Identity", ["image"], ["scores"])
    graph = helper.make_graph(
        [node],
        "convolution",
        [helper.make_tensor_value_info("image", kind, given)],
        [helper.make_tensor_value_info("scores", kind, None)],
        [] if plain else [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save_model(helper.make_model(graph, opset_imports=opset, ir_version=10), str(path))
    return path


def card_at(path, **changes):
    fields = {"architecture": "onnx", "arguments": {}, "halo": 1} | changes
    return ModelCard(**fields_of(path, **fields))


def by_hand(images):
    with torch.inference_mode():
        return torch.conv2d(torch.from_numpy(images), torch.from_numpy(KERNEL), padding=1).numpy()


def test_scores_are_those_of_the_network(tmp_path):
    card = card_at(save(tmp_path / "small.onnx"))
    images = np.random.default_rng(1).normal(size=(3, 4, 33, 20)).astype(np.float32)
    run = runtime_of(ref_for(card, "onnx")).scores
    for policy in [(1, 2), (2, 1)]:
        threads.set_policy(threads.Policy(*policy))
        try:
            found = run(images, (slice(2, 33), slice(0, 19)))
        finally:
            threads.set_policy(None)
        assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
        np.testing.assert_allclose(found, by_hand(images)[:, :, 2:, :19], rtol=0, atol=1e-5)


def test_the_operator_runs_it_by_itself(cube, tmp_path):
    card = card_at(save(tmp_path / "small.onnx"))
    card = read_card(write_card(card, tmp_path / "small.json"))
    assert known(AUTO, [card], 1) == (Choice("onnx"),)
    assert runtimes.candidates(card) == ("onnx",)
    layers = predict(cube.chunk(time=1, band=-1, y=32, x=40), [card])
    whole = predict(cube, [card]).compute()
    write(layers, tmp_path / "layers.zarr")
    np.testing.assert_array_equal(read(tmp_path / "layers.zarr")["facies"], whole["facies"])
    assert layers.attrs["runtime"] == "onnx"


def test_each_kind_of_network_has_its_runtime(card, tmp_path):
    other = card_at(save(tmp_path / "small.onnx"))
    with pytest.raises(WeightsError, match="'onnx', so it runs in 'onnx' or 'auto', found .*torch"):
        ref_for(other, "torch")
    with pytest.raises(WeightsError, match="'fcn', so it runs in 'torch' or 'auto'.*'onnx' only"):
        ref_for(card, "onnx")


@pytest.mark.parametrize(
    ("how", "changes", "text"),
    [
        ({"given": ("n", 3, "y", "x")}, {}, "its input has 3 channels, the card 4"),
        ({"given": (1, 4, 64, 64)}, {}, "takes tiles of 64 x 64 pixels only.*window is 0"),
        ({"given": (8, 4, "y", "x")}, {}, "it takes 8 images at a time only"),
        (
            {"given": (4, "y", "x"), "plain": True},
            {},
            r"needs \(n, channel, y, x\), found \[4, 'y', 'x'\]",
        ),
        ({"pads": 0}, {}, "must have the size of its input"),
        ({"kind": onnx.TensorProto.DOUBLE, "plain": True}, {}, r"float32, found tensor\(double\)"),
        ({"kernel": KERNEL[:4]}, {}, r"must give scores of shape \(1, 5, 34, 35\)"),
        ({"given": ("n", "c", "y", "x"), "kernel": KERNEL[:, :3]}, {}, "does not take an image"),
    ],
)
def test_another_network_than_the_cards_is_refused(tmp_path, how, changes, text):
    card = card_at(save(tmp_path / "small.onnx", **how), **changes)
    with pytest.raises(WeightsError, match=text):
        runtime_of(ref_for(card, "onnx"))


def test_a_fixed_size_is_the_cards_window(tmp_path):
    path = save(tmp_path / "small.onnx", given=(1, 4, 64, 64))
    card = card_at(path, window=64, exact=False)
    images = np.random.default_rng(1).normal(size=(1, 4, 64, 64)).astype(np.float32)
    found = runtime_of(ref_for(card, "onnx")).scores(images, (slice(0, 64), slice(0, 64)))
    np.testing.assert_allclose(found, by_hand(images), rtol=0, atol=1e-5)


def test_several_inputs_or_outputs_are_refused(tmp_path):
    path = save(tmp_path / "small.onnx")
    model = onnx.load(str(path))
    model.graph.output.append(onnx.helper.make_tensor_value_info("image", 1, ("n", 4, "y", "x")))
    onnx.save_model(model, str(path))
    with pytest.raises(WeightsError, match=r"needs one output, found \['scores', 'image'\]"):
        runtime_of(ref_for(card_at(path), "onnx"))
    del model.graph.output[1:]
    model.graph.input.append(onnx.helper.make_tensor_value_info("dem", 1, ("n", 1, "y", "x")))
    onnx.save_model(model, str(path))
    with pytest.raises(WeightsError, match=r"needs one input, found \['image', 'dem'\]"):
        runtime_of(ref_for(card_at(path), "onnx"))


def test_no_onnx_is_refused(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(b"no ONNX" * 20)
    with pytest.raises(WeightsError, match="must be a whole ONNX file|cannot be opened"):
        runtime_of(ref_for(card_at(path), "onnx"))
    card = card_at(save(path))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="need sha256"):
        runtime_of(ref_for(card, "onnx"))


def test_a_broken_graph_cannot_be_opened(tmp_path):
    path = save(tmp_path / "small.onnx")
    model = onnx.load(str(path))
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save_model(model, str(path))
    with pytest.raises(WeightsError, match="cannot be opened: .*NoSuchOperator.*export it again"):
        runtime_of(ref_for(card_at(path), "onnx"))


def test_weights_in_other_files_are_refused(tmp_path):
    path = save(tmp_path / "small.onnx")
    model = onnx.load(str(path))
    onnx.save_model(
        model, str(path), save_as_external_data=True, location="away.data", size_threshold=0
    )
    with pytest.raises(WeightsError, match=r"keeps \['kernel'\] in other files, which may lie any"):
        runtime_of(ref_for(card_at(path), "onnx"))


def test_a_gpu_is_used_where_there_is_one(tmp_path, monkeypatch):
    card = card_at(save(tmp_path / "small.onnx"))
    runtime = runtime_onnx.OnnxRuntime(ref_for(card, "onnx"), tmp_path / "small.onnx", "cuda:1")

    class Gpu:
        def get_available_providers(self):
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    wanted = [("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]
    assert runtime._providers(Gpu()) == wanted
