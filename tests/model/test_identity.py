import subprocess
import sys

import guests
import numpy as np
import pytest
import torch
from torch import nn

from glaciercube.model.identity import sha256_of_network


class Threshold(nn.Module):
    """A network without tensors."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, image):
        return torch.cat([image - self.limit, self.limit - image], dim=1)


class Doubled(Threshold):
    def forward(self, image):
        return super().forward(2 * image)


class Nested(Threshold):
    def forward(self, image):
        return torch.cat([(lambda one: one + 3)(image)] * 2, dim=1)


class Other(Threshold):
    def forward(self, image):
        return torch.cat([(lambda one: one + 4)(image)] * 2, dim=1)


class Buffered(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.register_buffer("value", torch.tensor(value), persistent=False)

    def forward(self, image):
        return image * self.value


def conv(dilation=1, **more):
    torch.manual_seed(0)
    return nn.Conv2d(2, 3, 3, padding=dilation, dilation=dilation, **more)


def test_equal_networks_have_one_hash():
    assert sha256_of_network(conv()) == sha256_of_network(conv())
    assert len(sha256_of_network(Threshold(0.4))) == 64


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (conv(), conv(dilation=2)),
        (conv(), conv(padding_mode="reflect")),
        (conv(), nn.Sequential(conv())),
        (Threshold(0.4), Threshold(0.5)),
        (Threshold([1, 2]), Threshold([1, 3])),
        (Threshold({"a": 1}), Threshold({"a": 2})),
        (Threshold({1, 2}), Threshold({1, 3})),
        (Threshold(np.zeros(2)), Threshold(np.ones(2))),
        (Threshold(torch.zeros(2)), Threshold(torch.ones(2))),
        (Threshold(0.4), Doubled(0.4)),
        (Nested(0.4), Other(0.4)),
        (Buffered(0.4), Buffered(0.5)),
        (guests.seeded(guests.Plain(2, 3), 0), guests.seeded(guests.Plain(2, 3), 1)),
        (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Sigmoid())),
    ],
    ids=lambda one: type(one).__name__,
)
def test_networks_that_give_other_scores_have_other_hashes(one, other):
    assert sha256_of_network(one) != sha256_of_network(other)


def test_a_forward_that_was_edited_is_another_network():
    def redefined(sign):
        exec_globals = {"Threshold": Threshold, "__name__": "notebook"}
        source = (
            f"class Mine(Threshold):\n    def forward(self, image):\n        return {sign}image"
        )
        exec(source, exec_globals)
        return exec_globals["Mine"](0.4)

    assert sha256_of_network(redefined("+")) == sha256_of_network(redefined("+"))
    assert sha256_of_network(redefined("+")) != sha256_of_network(redefined("-"))


def test_what_is_not_known_is_passed_over():
    assert sha256_of_network(Threshold(object())) == sha256_of_network(Threshold(object()))


def test_tensors_that_share_memory_are_hashed():
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    network[1].weight = network[0].weight
    assert len(sha256_of_network(network)) == 64


def test_the_hash_is_the_same_in_another_process():
    code = (
        "import sys; sys.path[:0] = ['tests'];"
        "import guests; from glaciercube.model.identity import sha256_of_network;"
        "print(sha256_of_network(guests.seeded(guests.Plain(2, 3))))"
    )
    path = repr([str(one) for one in sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code.replace("['tests']", path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == sha256_of_network(guests.seeded(guests.Plain(2, 3)))
