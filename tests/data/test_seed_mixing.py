import numpy as np
import pytest

from lightning_edge.data.seed_mixing import mix_seeds


@pytest.mark.parametrize(
    "common", [(0, 0, 0, 0), (7, 3, 1, 2), (2**32 - 1, 2**32, 0, 1), (2**40, 7, 0, 1), (2**100, 2**33, 2**64, 3)]
)
def test_seeds_are_those_of_numpy(common):
    last = [0, 1, 2, 49_999, 2**31, 2**32 - 1]
    theirs = [np.random.SeedSequence((*common, value)).generate_state(1, np.uint64)[0] for value in last]
    assert mix_seeds(common, last).tolist() == theirs


def test_no_value_is_cut_to_32_bits():
    with pytest.raises(OverflowError):
        mix_seeds((0, 0, 0, 0), [2**32])
