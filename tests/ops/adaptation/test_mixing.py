import math

import pytest
import torch
from domain_features import normal

from lightning_edge.ops.adaptation.mixing import class_mix_masks, confident_pseudo_labels, pseudo_masks


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_confident_predictions_by_hand():
    logits = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]]).log()
    labels, weights = confident_pseudo_labels(logits, threshold=0.8)
    assert labels.tolist() == [0, 1, 0]
    assert weights.tolist() == [1, 0, 0]


@pytest.mark.parametrize("function", [confident_pseudo_labels, pseudo_masks])
def test_labels_and_weights_have_no_gradient(function):
    labels, weights = function(normal(0, 2, 3, 4, 5).requires_grad_())
    assert labels.shape == weights.shape == (2, 4, 5)
    assert not weights.requires_grad


def test_weights_of_masks_are_shares_of_an_image():
    logits = 3 * normal(0, 2, 3, 4, 5)
    labels, weights = pseudo_masks(logits, threshold=0.9)
    for image in range(2):
        confident = [p.max() > 0.9 for p in logits[image].softmax(0).flatten(1).T]
        assert weights[image].unique().item() == pytest.approx(sum(confident) / 20)
    assert torch.equal(labels, logits.argmax(1))
    assert 0 < weights.min() < weights.max() < 1


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_is_between_0_and_1(threshold):
    with pytest.raises(ValueError, match="expected threshold of at"):
        confident_pseudo_labels(normal(0, 2, 3), threshold)


@pytest.mark.parametrize(("present", "num_drawn"), [([3], 1), ([0, 3], 1), ([0, 2, 3], 2), ([0, 1, 2, 3], 2)])
def test_half_of_the_classes_are_drawn_as_a_whole(present, num_drawn):
    choice = torch.randint(len(present), (5, 6, 7), generator=generator())
    labels = torch.tensor(present)[choice]
    masks = class_mix_masks(labels, 5, generator())
    for mask, image in zip(masks, labels, strict=True):
        drawn = image[mask].unique()
        assert len(drawn) == num_drawn
        assert torch.equal(mask, torch.isin(image, drawn))


def test_all_classes_are_drawn_equally_often_and_each_image_for_itself():
    labels = torch.arange(4).repeat(600, 1, 1)
    shares = class_mix_masks(labels, 4, generator()).double().mean(0)
    torch.testing.assert_close(shares, torch.full((1, 4), 0.5, dtype=torch.float64), atol=0.08, rtol=0)


@pytest.mark.parametrize("ignored", [255, -1, 3])
def test_pixels_without_a_class_are_never_drawn(ignored):
    labels = torch.tensor([[[0, ignored], [ignored, 0]], [[ignored, ignored], [ignored, ignored]]])
    masks = class_mix_masks(labels, 3, generator())
    assert torch.equal(masks, labels == 0)


def test_the_seed_repeats_masks():
    labels = torch.randint(9, (2, 6, 7), generator=generator())
    assert torch.equal(class_mix_masks(labels, 9, generator(1)), class_mix_masks(labels, 9, generator(1)))
    assert not torch.equal(class_mix_masks(labels, 9, generator(1)), class_mix_masks(labels, 9, generator(2)))


def test_there_are_classes():
    with pytest.raises(ValueError, match="expected num_classes of at least 1, got 0"):
        class_mix_masks(torch.zeros(1, 2, 2, dtype=torch.int64), 0)
