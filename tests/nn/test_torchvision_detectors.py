"""Detectors of torchvision under our batches."""

import pytest
import torch
from test_center_detector import make_batch

from lightning_edge.contracts import Detector
from lightning_edge.nn.timm_backbone import TimmBackbone
from lightning_edge.nn.torchvision_detectors import FasterRCNNDetector, FCOSDetector, RetinaNetDetector

ENCODER = "test_resnet"
MAKERS = {
    "FCOS": lambda: FCOSDetector(TimmBackbone(ENCODER, (8, 16, 32), 32), 3),
    "RetinaNet": lambda: RetinaNetDetector(TimmBackbone(ENCODER, (8, 16, 32), 32), 3),
    "pyramid": lambda: FasterRCNNDetector(TimmBackbone(ENCODER, (4, 8, 16, 32), 32, has_group_norm=True), 3),
    "one map": lambda: FasterRCNNDetector(TimmBackbone(ENCODER, (16,)), 3, anchor_sizes=(16, 32), pool_cells=6),
}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    boxes = [torch.tensor([[8.0, 12, 40, 44], [60, 20, 84, 52]]), torch.zeros(0, 4)]
    labels = [torch.tensor([0, 2]), torch.zeros(0).long()]
    return make_batch(torch.rand(2, 3, 64, 96, generator=generator), boxes, labels)


@pytest.mark.parametrize("name", MAKERS)
def test_losses_and_detections(name, batch):
    torch.manual_seed(0)
    net = MAKERS[name]()
    assert isinstance(net, Detector)
    losses = net.losses(batch)
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert next(net.backbone.encoder.parameters()).grad.abs().sum() > 0
    with torch.no_grad():
        found = net.eval().detect(batch["image"])
    assert len(found) == 2
    assert all(((one.label >= 0) & (one.label < 3)).all() for one in found)


@pytest.mark.parametrize(("name", "first"), [("FCOS", 0), ("RetinaNet", 0), ("pyramid", 1)])
def test_classes_keep_their_numbers(name, first, batch, monkeypatch):
    net, seen = MAKERS[name](), []

    def forward(images, targets=None):
        if targets is not None:
            seen.append(targets)
            return {"loss": torch.zeros(())}
        return [{"boxes": torch.zeros(2, 4), "scores": torch.ones(2), "labels": torch.tensor([first, first + 2])}] * 2

    monkeypatch.setattr(net.detector, "forward", forward)
    net.losses(batch)
    assert seen[0][0]["labels"].tolist() == [first, first + 2]
    assert net.detect(batch["image"])[0].label.tolist() == [0, 2]


def test_levels_are_those_of_the_literature():
    assert TimmBackbone(ENCODER, (8, 16, 32)).num_levels == 5
    assert TimmBackbone(ENCODER, (4, 8, 16, 32)).num_levels == 5
    backbone = TimmBackbone(ENCODER, (16,))
    (feature,) = backbone(torch.rand(1, 3, 64, 64)).values()
    assert feature.shape[1:] == (backbone.out_channels, 4, 4)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"expected strides among those of test_resnet, .*, got \(3,\)"):
        TimmBackbone(ENCODER, (3,))
    with pytest.raises(ValueError, match=r"expected an anchor size for each level \(5\), got \(16, 32\)"):
        FasterRCNNDetector(TimmBackbone(ENCODER, (4, 8, 16, 32), 16), 3, anchor_sizes=(16, 32))
