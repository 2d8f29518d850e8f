import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cards import make_card

from glaciercube.errors import WeightsError
from glaciercube.model import published_inspections
from glaciercube.model.deeplab import DeepLab
from glaciercube.model.fcn import FCN
from glaciercube.model.inspector import inspect
from glaciercube.model.networks import NETWORKS, build
from glaciercube.model.resunet3d import ResUNet3D
from glaciercube.model.unet import ResUNet, UNet
from glaciercube.model.utae import UTAE
from glaciercube.windows import Window, expand


@pytest.fixture
def card(tmp_path):
    return make_card(tmp_path)


def test_sizes_follow_from_the_card(card):
    network = build(card)
    assert isinstance(network, FCN)
    assert network(torch.zeros(1, 4, 9, 11)).shape == (1, 5, 9, 11)
    assert network.halo == 3


@pytest.mark.parametrize(("name", "kind"), [("unet", UNet), ("resunet", ResUNet)])
def test_a_card_may_have_a_unet(card, name, kind):
    network = build(replace(card, architecture=name, arguments={"width": 4, "depth": 2}))
    assert isinstance(network, kind)
    assert (network.stride, network.halo) == (4, 24)


SMALL = {
    "fcn": [{"width": 4}, {"width": 4, "dilations": [1, 3], "spectral": True}, {"dilations": []}],
    "unet": [{"width": 4}, {"width": 4, "depth": 2, "nearest": True}],
    "resunet": [{"width": 4}, {"width": 4, "depth": 1}],
    "deeplab": [
        {"width": 4, "blocks": 1, "rates": [1, 2]},
        {"width": 4, "stride": 8, "rates": [2]},
    ],
    "utae": [{"width": 4, "heads": 2, "depth": 1}, {"width": 4, "heads": 4, "depth": 3}],
    "resunet3d": [
        {"width": 2, "depth": 1},
        {"width": 2, "depth": 2, "pooling": "weighted"},
    ],
    "facies-cnn": [{"mode": "convolutional"}],
}
DATES = {"utae": {"count": 2, "day": True}, "resunet3d": {"count": 3}}
CASES = [(name, one) for name, some in SMALL.items() for one in some]


def small(card, name, arguments, dates=None):
    """Return a card and its network in evaluation mode, normalised as after training."""
    card = replace(card, architecture=name, arguments=arguments, dates=dates or DATES.get(name, {}))
    network = build(card)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for each in network.parameters():
            if each.ndim == 4:
                each.normal_(0, (2 / each[0].numel()) ** 0.5, generator=generator)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(image_of(card.channels, 64, 64, number=2))
    return card, network.eval()


def image_of(channels, rows, columns, number=1):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(number, channels, rows, columns, generator=generator)


def tiled(network, image, halo, step):
    """Return the scores of an image from tiles, which start anywhere."""
    rows, columns = image.shape[-2:]
    stride = getattr(network, "stride", 1)
    parts = []
    for y in range(0, rows, step):
        inner = Window(y, min(y + step, rows), 0, columns)
        wide = expand(inner, halo, (rows, columns), stride)
        parts.append(network(image[(..., *wide.slices)])[(..., *inner.inside(wide))])
    return torch.cat(parts, dim=-2)


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_an_inspection_finds_what_a_network_says_of_itself(card, name, arguments):
    card, network = small(card, name, arguments)
    found = inspect(network, card.channels)
    assert found.exact
    assert not found.notes
    assert found.halo == found.analytic_halo == found.measured_halo == network.halo
    assert found.stride == getattr(network, "stride", 1)
    assert found.multiple == 1


TILED = [(name, one) for name, one in CASES if name not in ("unet", "resunet")]


@pytest.mark.parametrize(("name", "arguments"), TILED)
@torch.inference_mode()
def test_tiles_give_the_scores_of_the_whole_image_at_any_size(card, name, arguments):
    card, network = small(card, name, arguments)
    network, stride = network.double(), getattr(network, "stride", 1)
    image = image_of(card.channels, 2 * network.halo + 5 * stride + 3, 2 * stride + 5).double()
    for given in (image, image.transpose(-1, -2)):
        whole = network(given)
        down = given.shape[-2] > given.shape[-1]
        turned = (lambda one: one) if down else (lambda one: one.transpose(-1, -2))
        net = network if down else lambda one: network(one.transpose(-1, -2)).transpose(-1, -2)
        net.stride = stride
        found = tiled(net, turned(given), network.halo, 2 * stride + 5)
        torch.testing.assert_close(turned(found), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "arguments"), TILED)
@torch.inference_mode()
def test_a_stride_less_of_halo_changes_the_scores(card, name, arguments):
    card, network = small(card, name, arguments)
    network, stride = network.double(), getattr(network, "stride", 1)
    if not network.halo:
        return
    image = image_of(card.channels, 2 * network.halo + 5 * stride, 2 * stride).double()
    found = tiled(network, image, network.halo - stride, stride)
    assert not torch.equal(found, network(image))


@pytest.mark.parametrize(("name", "arguments"), CASES)
@torch.inference_mode()
def test_images_of_a_batch_do_not_see_each_other(card, name, arguments):
    card, network = small(card, name, arguments)
    network, images = network.double(), image_of(card.channels, 19, 26, number=3).double()
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=0, atol=1e-10)
    assert float((alone[0] - alone[1]).abs().max()) > 1e-3


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_gradients_reach_every_parameter(card, name, arguments):
    card, network = small(card, name, arguments)
    network.train()(image_of(card.channels, 35, 37, number=2)).square().sum().backward()
    assert all(float(each.grad.abs().sum()) > 0 for each in network.parameters())


def test_the_table_in_the_docs_is_right(card):
    """Parameters, stride and halo by default, of 6 bands and 8 categories, and of 5 dates."""
    text = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    text = text.split("## Architectures", 1)[1].split("\n## ", 1)[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", text, flags=re.MULTILINE))
    published = {each.split()[0] for each in published_inspections.FOUND}
    assert set(rows) == set(NETWORKS) - published
    for name in rows:
        kind = NETWORKS[name]
        planes = {"utae": 2, "resunet3d": 1}.get(name)
        more = {"bands": 6, "categories": 8}
        if planes:
            more |= {"bands": 5 * (6 + planes), "count": 5}
        network = kind(**more)
        count = sum(each.numel() for each in network.parameters())
        told = [cell.strip() for cell in rows[name].split("|")][1:4]
        stride = getattr(network, "stride", 1)
        assert told == [f"{count:,}", str(stride), str(network.halo)], name


@pytest.mark.parametrize(("name", "kind"), [("utae", UTAE), ("resunet3d", ResUNet3D)])
def test_what_is_known_of_the_dates_follows_from_the_card(card, name, kind):
    dates = {"count": 3, "day": True}
    card = replace(card, architecture=name, arguments={"width": 16, "depth": 1}, dates=dates)
    network = build(card)
    assert isinstance(network, kind)
    assert network.count == 3
    assert network.eval()(torch.zeros(1, card.channels, 9, 11)).shape == (1, 5, 9, 11)
    with pytest.raises(WeightsError, match=r"has {'bands': 18, .*'count': 3.*say {'count': 2}"):
        build(replace(card, arguments={"count": 2}))


def test_a_card_may_have_a_deeplab(card):
    network = build(replace(card, architecture="deeplab", arguments={"width": 4, "stride": 8}))
    assert isinstance(network, DeepLab)
    assert (network.stride, network.halo) == (8, 400)


def test_all_others_have_inspections_on_record():
    recorded = {each.split()[0] for each in published_inspections.FOUND}
    assert set(NETWORKS) == set(SMALL) | recorded


def test_building_leaves_the_random_state_alone(card):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(card)
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_architecture_lists_the_known(card):
    with pytest.raises(
        WeightsError, match=r"architecture 'vnet'; .*'deeplab', 'facies-cnn', 'fcn', .*'utae'\]"
    ):
        build(replace(card, architecture="vnet"))


def test_arguments_the_architecture_does_not_take_are_shown(card):
    with pytest.raises(WeightsError, match=r"does not take the arguments .*'depth': 3.*depth"):
        build(replace(card, arguments={"depth": 3}))


def test_arguments_that_contradict_the_card_are_shown(card):
    with pytest.raises(WeightsError, match="has {'bands': 4, 'categories': 5}, but .*'bands': 6"):
        build(replace(card, arguments={"bands": 6}))
    assert build(replace(card, arguments={"bands": 4})).halo == 15
