"""The rows of the published networks fit one another, the architectures and the records."""

import numpy as np
import pytest

from glaciercube.errors import WeightsError
from glaciercube.model.networks import NETWORKS
from glaciercube.model.published_inspections import FOUND
from glaciercube.model.published_rows import DATES, OPTICAL, ROWS, TERRAIN, WINDOW

KERNELS = {
    "facies": {"conv2d.0/kernel": (3, 3, 11, 64)},
    "glavitu": {
        "fusion_block.0/conv_batch_norm_act_x2.0/conv2d.0/kernel": (3, 3, 6, 64),
        "fusion_block.0/conv_batch_norm_act_x2.1/conv2d.0/kernel": (3, 3, 2, 64),
        "SETR.0/add_positional_embedding.0/positional_embedding": (576, 64),
    },
    "icemapper": {
        "Conv3DResUNetEncoder.0/residual_with_projection.0/dense.0/kernel": (2, 32),
        "Conv3DResUNetEncoder.0/temporal_weighted_pooling.0/conv3d.0/kernel": (3, 1, 1, 32, 16),
    },
}
"""Shapes of arrays that the rows look at."""

FACTS = {
    "facies": ((*OPTICAL, *TERRAIN), {"mode": "exact"}),
    "glavitu": (
        (*OPTICAL, "elevation", "slope"),
        {"sources": [6, 2], "window": WINDOW, "deep_supervision": False},
    ),
    "icemapper": (("backscatter", "coherence"), {"dates": DATES, "pooling": "weighted"}),
}


def arrays(name):
    return {key: np.zeros(shape, np.float32) for key, shape in KERNELS[name].items()}


@pytest.mark.parametrize("name", ROWS)
def test_bands_and_arguments_follow_from_the_arrays(name):
    row, (bands, arguments) = ROWS[name], FACTS[name]
    assert row.bands_of(arrays(name)) == bands
    assert row.arguments_of(arrays(name)) == arguments
    assert row.architecture in NETWORKS
    assert row.inspection_of(arguments).exact == (name == "facies")
    assert row.window_of(arguments) == (0 if name == "facies" else WINDOW)


def test_every_record_is_of_a_row():
    assert {each.split()[0] for each in FOUND} == {row.architecture for row in ROWS.values()}


def test_the_marks_of_a_row_are_no_others():
    marks = [set(row.marks) for row in ROWS.values()]
    assert len(set.union(*marks)) == sum(len(each) for each in marks)


def test_sources_that_are_not_those_of_the_authors_are_numbered():
    kernel = "fusion_block.0/conv_batch_norm_act_x2.{}/conv2d.0/kernel"
    found = arrays("glavitu") | {kernel.format(2): np.zeros((3, 3, 1, 64), np.float32)}
    assert ROWS["glavitu"].bands_of(found)[-3:] == ("source1_0", "source1_1", "source2_0")


def test_an_unknown_variant_lists_the_known():
    match = r"one of \['icemapper max', 'icemapper weighted'\], found 'icemapper mean'"
    with pytest.raises(WeightsError, match=match):
        ROWS["icemapper"].inspection_of({"pooling": "mean"})
