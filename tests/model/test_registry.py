import threading
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from cards import make_card
from safetensors.torch import load_file, save_file

from glaciercube.errors import WeightsError
from glaciercube.model import registry, zoo
from glaciercube.model.fcn import FCN
from glaciercube.model.reference import ModelRef, ref_of
from glaciercube.model.registry import load_weights, network_of, own_network_of
from glaciercube.model.weights import sha256_of


@pytest.fixture(autouse=True)
def _empty(monkeypatch):
    monkeypatch.setattr(registry, "_networks", {})


@pytest.fixture
def card(tmp_path):
    return make_card(tmp_path)


def rewritten(card, tensors):
    """Return the card of other tensors in the same file."""
    save_file(tensors, card.weights)
    return replace(card, sha256=sha256_of(card.weights))


def test_a_network_is_ready_to_predict(card):
    network = network_of(ref_of(card))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    saved = load_file(card.weights)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in network.state_dict().items())


def test_a_network_is_loaded_once_by_eight_threads(card, monkeypatch):
    loads, barrier, found = [], threading.Barrier(8, timeout=30), []

    def counting(path):
        loads.append(path)
        return safetensors.torch.load_file(path)

    monkeypatch.setattr(registry, "load_file", counting)

    def work():
        barrier.wait()
        found.append(network_of(ref_of(card)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(loads) == 1
    assert len(found) == 8
    assert all(network is found[0] for network in found)


def test_a_card_and_its_reference_are_the_same_network(card):
    assert network_of(card) is network_of(ref_of(replace(card, temperature=9.0)))


def test_a_failed_load_is_tried_again(card):
    content = Path(card.weights).read_bytes()
    Path(card.weights).unlink()
    with pytest.raises(WeightsError, match="no such file"):
        network_of(card)
    Path(card.weights).write_bytes(content)
    assert network_of(card).halo == 3


def test_a_flipped_bit_is_found(card):
    content = bytearray(Path(card.weights).read_bytes())
    content[-5] ^= 1
    Path(card.weights).write_bytes(content)
    with pytest.raises(WeightsError, match=f"need sha256 {card.sha256}, found "):
        network_of(card)


def test_truncated_weights_are_found_even_with_their_own_hash(card):
    Path(card.weights).write_bytes(Path(card.weights).read_bytes()[:-100])
    cut = replace(card, sha256=sha256_of(card.weights))
    with pytest.raises(
        WeightsError, match=r"must be a whole safetensors file, found '.*\.safetens"
    ):
        network_of(cut)


def test_a_pickle_in_disguise_is_not_opened(card):
    torch.save({"weight": torch.zeros(3)}, card.weights)
    with pytest.raises(WeightsError, match="must be a whole safetensors file"):
        network_of(replace(card, sha256=sha256_of(card.weights)))


def test_pickles_are_refused_by_name(card, tmp_path):
    path = tmp_path / "model.pth"
    torch.save({}, path)
    named = replace(card, weights=str(path), sha256=sha256_of(path))
    with pytest.raises(WeightsError, match="weights must be a safetensors file, found .*model.pth"):
        network_of(named)


def test_tensors_of_another_network_are_listed(card):
    tensors = load_file(card.weights)
    gone = next(name for name in tensors if name.endswith("bias"))
    wide = next(name for name in tensors if name.endswith("weight"))
    del tensors[gone]
    tensors[wide] = torch.zeros(*tensors[wide].shape, 2)
    tensors["head.weight"] = torch.zeros(2)
    with pytest.raises(WeightsError) as caught:
        network_of(rewritten(card, tensors))
    text = str(caught.value)
    assert "of another network than the card's 'fcn'" in text
    assert f"missing {gone!r}" in text
    assert "unexpected 'head.weight'" in text
    assert f"{wide!r} has shape {tuple(tensors[wide].shape)}, needs" in text


def test_a_long_list_of_tensors_is_cut(card):
    with pytest.raises(WeightsError, match=r"and \d+ more$"):
        network_of(rewritten(card, {f"layer{number}": torch.zeros(1) for number in range(30)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(card, value):
    tensors = load_file(card.weights)
    name = next(name for name in tensors if name.endswith("bias"))
    tensors[name].view(-1)[0] = value
    with pytest.raises(WeightsError, match=rf"must be finite, but \['{name}'\] hold NaN or inf"):
        load_weights(rewritten(card, tensors))


def test_a_card_with_too_small_a_halo_is_refused(card):
    with pytest.raises(WeightsError, match="states a halo of 2, its network needs 3 pixels"):
        network_of(replace(card, halo=2))


def test_references_that_run_in_other_ways_share_one_network(card):
    assert network_of(ModelRef(card, runtime="openvino")) is network_of(ref_of(card))


def test_an_own_network_may_be_changed(card):
    own = own_network_of(ref_of(card))
    assert own is not network_of(card)
    own.scores[0].weight.zero_()
    assert network_of(card).scores[0].weight.abs().max() > 0


def test_a_network_in_memory_is_kept_as_it_was(card):
    network = FCN(bands=4, categories=5, width=4, dilations=(1,)).eval()
    held = registry.hold(network, card)
    assert held.architecture == "glaciercube.model.fcn.FCN"
    image = torch.rand(1, 4, 9, 9)
    with torch.inference_mode():
        expected = network(image)
        network.scores[0].weight.zero_()
        assert torch.equal(network_of(held)(image), expected)
        assert torch.equal(own_network_of(ref_of(held))(image), expected)
    assert registry.hold(network, card).sha256 != held.sha256


def test_a_network_in_memory_is_not_in_another_process(card, monkeypatch):
    held = registry.hold(FCN(bands=4, categories=5, width=4).eval(), card)
    monkeypatch.setattr(registry, "_held", {})
    with pytest.raises(WeightsError, match="'small-facies' lives in the memory of .* another one"):
        network_of(held)


def test_a_network_in_training_is_refused_by_its_layers(card):
    network = FCN(bands=4, categories=5, width=4)
    with pytest.raises(
        WeightsError, match=r"\['the network \(FCN\)', 'pixel.0 \(BatchNorm2d\)'.*eval"
    ):
        registry.hold(network, card)
    network.eval()
    network.pixel[1].train()  # a convolution does the same in both
    registry.hold(network, card)
    network.blocks[0][1].train()
    with pytest.raises(WeightsError, match=r"are \['blocks.0.1 \(BatchNorm2d\)'\]:"):
        registry.hold(network, card)


def test_a_network_in_memory_that_is_not_finite_is_refused(card):
    network = FCN(bands=4, categories=5, width=4).eval()
    network.scores[0].bias.data[0] = float("nan")
    with pytest.raises(WeightsError, match=r"network FCN must be finite, but \['scores.0.bias'\]"):
        registry.hold(network, card)


def test_bundled_weights_are_found_where_the_package_lies_here(card, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "BUNDLED", tmp_path)
    elsewhere = replace(card, weights=f"/another/machine/{Path(card.weights).name}")
    assert network_of(elsewhere).halo == 3
