"""What ``check_batch`` takes and what it refuses."""

from typing import NotRequired, TypedDict

import pytest
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import FrameBatch, SegmentationBatch


class DetectionBatch(TypedDict):
    image: Float[Tensor, "batch 3 height width"]
    boxes_xyxy: list[Float[Tensor, "boxes 4"]]
    label: list[Int64[Tensor, " boxes"]]
    scale: Float[Tensor, " batch"]
    domain: NotRequired[Int64[Tensor, " batch"]]


def detection_batch(**changes):
    batch = {
        "image": torch.rand(3, 3, 8, 8),
        "boxes_xyxy": [torch.rand(count, 4) for count in (1, 0, 5)],
        "label": [torch.zeros(count).long() for count in (1, 0, 5)],
        "scale": torch.ones(3),
    }
    return batch | changes


def test_items_of_a_list_differ_in_size_and_optional_keys_may_be_missing():
    check_batch(detection_batch(), DetectionBatch)
    check_batch(detection_batch(domain=torch.zeros(3).long()), DetectionBatch)


def test_a_batch_of_nothing_is_a_batch():
    check_batch({"image": torch.rand(0, 3, 8, 8), "mask": torch.zeros(0, 8, 8).long()}, SegmentationBatch)
    check_batch({"image": torch.rand(0, 3, 8, 8), "frame_index": torch.zeros(0).long(), "name": []}, FrameBatch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"other": 1}, r"keys of DetectionBatch, \['boxes_xyxy', .*\], optionally \['domain'\], got .*'other'"),
        ({"domain": torch.zeros(2).long()}, r"DetectionBatch\['domain'\] as .*got torch.int64 \(2,\)"),
        ({"boxes_xyxy": torch.rand(3, 1, 4)}, r"DetectionBatch\['boxes_xyxy'\] as list"),
        ({"label": []}, r"DetectionBatch\['label'\] with an item for each sample \(3\), got 0"),
        ({"label": [torch.zeros(2).long()] * 3}, r"DetectionBatch\['label'\]\[0\] as .*got torch.int64 \(2,\)"),
        (
            {"boxes_xyxy": [torch.full((count, 4), torch.nan) for count in (1, 0, 5)]},
            r"'boxes_xyxy'\] to be finite",
        ),
        ({"scale": torch.tensor([1, 1, torch.inf])}, r"'scale'\] to be finite, got NaN or infinity"),
        ({"image": torch.full((3, 3, 8, 8), torch.nan)}, r"'image'\] to be finite"),
        ({"image": torch.full((3, 3, 8, 8), 2.0)}, r"'image'\] within \[0, 1\], got values from 2 to 2"),
    ],
)
def test_what_breaks_a_promise_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        check_batch(detection_batch(**changes), DetectionBatch)


def test_a_missing_key_and_what_is_no_dict_are_named():
    with pytest.raises(ValueError, match=r"keys of SegmentationBatch, \['image', 'mask'\], got \['image'\]"):
        check_batch({"image": torch.rand(1, 3, 8, 8)}, SegmentationBatch)
    with pytest.raises(ValueError, match="expected a dict with the keys of SegmentationBatch, got Tensor"):
        check_batch(torch.rand(1, 3, 8, 8), SegmentationBatch)


def test_names_are_strings_one_for_each_frame():
    batch = {"image": torch.rand(2, 3, 8, 8), "frame_index": torch.arange(2), "name": ["a", 2]}
    with pytest.raises(ValueError, match=r"FrameBatch\['name'\]\[1\] as str, .*got 2"):
        check_batch(batch, FrameBatch)
