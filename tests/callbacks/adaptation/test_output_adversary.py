"""Discriminators of maps of predictions."""

import math

import pytest
import torch
from adaptation_runs import (
    fit,
    fit_terms,
    make_classification,
    make_digits,
    make_street_clips,
    make_streets,
    make_traffic,
    same,
    weights,
)
from settings import make_accel, make_detection, make_segmentation

from callbacks.adaptation import ADVENT, DANN, AdaptSegNet
from lightning_edge import nn
from lightning_edge.methods import Detection
from lightning_edge.nn.encoders.timm_backbone import TimmBackbone

BOTH = pytest.mark.parametrize("adversary", [AdaptSegNet, ADVENT])


def segmentation():
    torch.manual_seed(0)
    return make_segmentation(11)


@BOTH
def test_a_weight_of_0_trains_the_module_as_without_it(adversary, tmp_path):
    alone, beside = segmentation(), segmentation()
    fit(alone, make_streets(), tmp_path, limit_train_batches=2)
    fit(beside, make_streets(), tmp_path, adversary(weight=0.0), limit_train_batches=2)
    assert same(weights(alone), weights(beside))


def maps(adversary, logits, exclusive):
    probabilities = logits.softmax(1) if exclusive else logits.sigmoid()
    if adversary is AdaptSegNet:
        return probabilities
    information = -probabilities * probabilities.log()
    if exclusive:
        return information / math.log(11)
    return (information - (1 - probabilities) * (1 - probabilities).log()) / math.log(2)


@BOTH
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_term_is_that_of_the_papers(adversary, exclusive, tmp_path):
    method = segmentation()
    callback = adversary(weight=0.5, exclusive=exclusive, base_channels=4)
    (term,) = fit_terms(callback, method, make_streets(), tmp_path)
    is_source, is_target = (
        term.nets(maps(adversary, outputs.outputs, exclusive)).sigmoid()
        for outputs in (term.pair.source, term.pair.target)
    )
    discriminator = -(is_source.log().mean() + (1 - is_target).log().mean()) / 2
    torch.testing.assert_close(term.value, discriminator - 0.5 * is_target.log().mean())


@BOTH
def test_the_module_learns_from_the_target_and_the_discriminator_from_both(adversary, tmp_path):
    callback, method = adversary(base_channels=4), segmentation()
    (term,) = fit_terms(callback, method, make_streets(), tmp_path)
    owned = {f"adaptation_{callback.name}.{name}" for name, _ in term.nets.named_parameters()}
    assert owned < term.reached
    assert {"net.encoder.conv1.0.weight", "net.head.2.weight"} < term.reached
    # the discriminator's gradient is that of its own loss, whatever the weight of the deception
    gradients = []
    for weight in (0.0, 1.0):
        other = adversary(weight=weight, base_channels=4)
        other._owned = callback._owned
        pair = term.pair
        gradients.append(torch.autograd.grad(other.term(detached(pair)), list(callback.nets.parameters())))
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def detached(pair):
    source, target = (outputs._replace(outputs=outputs.outputs.detach()) for outputs in (pair.source, pair.target))
    return pair._replace(source=source, target=target)


@BOTH
def test_detection_and_clips_have_maps_too(adversary, tmp_path):
    torch.manual_seed(0)
    (term,) = fit_terms(adversary(exclusive=False), make_detection(10), make_traffic(), tmp_path)
    assert torch.isfinite(term.value)
    method = make_accel(11)
    method.branch_stage_fraction = 0.0
    (term,) = fit_terms(adversary(), method, make_street_clips(), tmp_path)
    assert torch.isfinite(term.value)
    assert any(name.startswith("net.reference") for name in term.reached)


@pytest.mark.parametrize("detector", ["FCOSDetector", "RetinaNetDetector", "FasterRCNNDetector"])
def test_features_of_torchvision_detectors_are_adapted(detector, tmp_path):
    torch.manual_seed(0)
    method = Detection(getattr(nn, detector)(TimmBackbone("test_resnet", (8, 16, 32), channels=32), 10))
    layer = "net.detector.backbone.pyramid.layer_blocks.0.0"
    (term,) = fit_terms(DANN(layer=layer, ramp=False), method, make_traffic(), tmp_path)
    assert term.value > 0
    assert any(name.startswith("net.detector.backbone") for name in term.reached)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="expected num_strides of at most 5, got 6"):
        AdaptSegNet(num_strides=6)
    with pytest.raises(ValueError, match="expected layer as one whose outputs are maps of logits"):
        fit(make_classification(), make_digits(), tmp_path, AdaptSegNet())
    with pytest.raises(ValueError, match="expected maps of at least 32x32 for num_strides of 5, got 4x6: use fewer"):
        fit(segmentation(), make_streets(), tmp_path, ADVENT(num_strides=5))
