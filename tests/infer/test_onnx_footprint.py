"""How much memory a network that comes as ONNX needs."""

from itertools import pairwise

import pytest
from onnx import helper
from onnx_files import card_of, model_of, onnx_card
from torch import nn

from glaciercube.cluster.memory import demand_of
from glaciercube.errors import WeightsError
from glaciercube.infer.onnx_footprint import footprint

FLOAT = 4


def chain(*channels):
    """Return a model of 1 x 1 convolutions with so many channels, one after the other."""
    network = nn.Sequential(*(nn.Conv2d(before, after, 1) for before, after in pairwise(channels)))
    return model_of(network.requires_grad_(False))


def continued(model, nodes):
    """Return a model that goes on with operations, whose last result is its output."""
    model.graph.node.extend(nodes)
    model.graph.output[0].name = nodes[-1].output[0]
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def test_what_lives_at_a_time_counts(tmp_path):
    """The input, and what one operation reads and writes."""
    activations, weights = footprint(card_of(chain(4, 8, 32, 16, 5), tmp_path))
    assert activations == FLOAT * (4 + 32 + 16)
    assert weights == FLOAT * (4 * 8 + 8 * 32 + 32 * 16 + 16 * 5 + 8 + 32 + 16 + 5)


def test_what_is_read_again_lives_longer(tmp_path):
    model = continued(chain(4, 8, 8, 8), [helper.make_node("Add", ["value0", "value2"], ["all"])])
    assert footprint(card_of(model, tmp_path))[0] == FLOAT * (4 + 8 + 8 + 8)


def test_a_shape_that_does_not_follow_counts_as_the_largest(tmp_path):
    strange = helper.make_node("Strange", ["value1"], ["strange"], domain="com.microsoft")
    model = continued(chain(4, 8, 6), [strange])
    assert footprint(card_of(model, tmp_path))[0] == FLOAT * (4 + 8 + 6)
    model = continued(model, [helper.make_node("Add", ["strange", "value1"], ["all"])])
    assert footprint(card_of(model, tmp_path))[0] == FLOAT * (4 + 6 + 8 + 8)


def test_a_job_counts_with_it(tmp_path):
    card = onnx_card(tmp_path)
    demand = demand_of({"block": 256, "sensor": "sentinel-2-l2a"}, [card])
    assert (demand.activations, demand.networks) == footprint(card)
    assert demand.networks > 0


def test_a_changed_file_is_not_followed(tmp_path):
    card = onnx_card(tmp_path)
    with open(card.weights, "ab") as file:
        file.write(b"more")
    with pytest.raises(WeightsError, match="sha256"):
        footprint(card)
