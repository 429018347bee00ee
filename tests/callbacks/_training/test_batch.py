"""What a batch consists of, for callbacks that meet any."""

from collections import UserDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch

from callbacks._training.batch import batch_size_of, part_of, rows_left_whole


class Pair(NamedTuple):
    image: torch.Tensor
    label: torch.Tensor


@dataclass(frozen=True)
class Record:
    image: torch.Tensor
    name: str


def test_lists_of_examples_are_cut():
    batch = {"image": torch.arange(4), "boxes": [torch.zeros(n, 4) for n in range(4)], "name": list("abcd"), "scale": 2}
    part = part_of(batch, 4, 1, 3)
    assert part["image"].tolist() == [1, 2]
    assert [len(boxes) for boxes in part["boxes"]] == [1, 2]
    assert part["name"] == ["b", "c"]
    assert part["scale"] == 2
    assert rows_left_whole(batch, 4) == set()


@pytest.mark.parametrize("kind", [tuple, list, lambda pair: Pair(*pair)])
def test_a_pair_of_tensors_is_not_two_examples(kind):
    images, labels = part_of(kind([torch.zeros(2, 3), torch.zeros(2)]), 2, 0, 1)
    assert (images.shape, labels.shape) == ((1, 3), (1,))


def test_mappings_and_data_classes_stay_what_they_are():
    encoding = part_of(UserDict(ids=torch.arange(4), text="a"), 4, 0, 2)
    assert isinstance(encoding, UserDict)
    assert encoding["ids"].tolist() == [0, 1]
    whole = Record(torch.arange(4), "a")
    assert part_of(whole, 4, 2, 4).image.tolist() == [2, 3]
    assert len(whole.image) == 4
    assert batch_size_of(whole) == batch_size_of(UserDict(ids=torch.arange(4))) == 4


def test_what_is_not_cut_is_told():
    assert rows_left_whole((torch.zeros(4, 2), torch.zeros(7), torch.tensor(3.0), "text"), 4) == {7}
    images, targets = [torch.zeros(3, 8, 8)] * 4, [{"boxes": torch.zeros(5, 4)}] * 4
    size = batch_size_of((images, targets))  # 3, wrongly: nothing tells rows of colors from examples
    assert rows_left_whole((images, targets), size) == {5}


def test_a_batch_without_tensors_is_refused():
    with pytest.raises(ValueError, match="expected batches with tensors, got dict without"):
        batch_size_of({"name": ["a"], "scale": torch.tensor(2.0)})
