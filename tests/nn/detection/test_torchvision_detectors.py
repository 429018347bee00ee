"""Detectors of torchvision under our batches."""

import pytest
import torch
from detection_batch import make_batch

from lightning_edge.contracts import Detector
from lightning_edge.nn.detection.torchvision import FasterRCNNDetector, FCOSDetector, RetinaNetDetector
from lightning_edge.nn.encoders.timm_backbone import TimmBackbone

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
        actual = net.eval().detect(batch["image"])
    assert len(actual) == 2
    assert all(((one.label >= 0) & (one.label < 3)).all() for one in actual)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("trains", [True, False])
def test_the_backbone_sees_images_as_they_are(name, trains, batch):
    net, seen = MAKERS[name]().train(trains), []
    net.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net.detect(batch["image"])
        if trains:
            net.losses(batch)
    assert len(seen) == 1 + trains
    for image in seen:
        torch.testing.assert_close(image, batch["image"], rtol=0, atol=0)


@pytest.mark.parametrize("name", MAKERS)
def test_detections_in_training_mode_are_those_of_evaluation_and_the_mode_remains(name, batch):
    torch.manual_seed(0)
    net = MAKERS[name]()
    if not name.startswith(("pyramid", "one")):
        net.detector.score_thresh = 0.0  # the first scores of classes are about 0.01
    net.backbone.eval()  # the statistics of a batch would change the features
    modes = [part.training for part in net.modules()]
    with torch.no_grad():
        in_training = net.detect(batch["image"])
    assert [part.training for part in net.modules()] == modes
    assert all(value.isfinite() for value in net.losses(batch).values())
    with torch.no_grad():
        expected = net.eval().detect(batch["image"])
    for one, other in zip(in_training, expected, strict=True):
        assert len(one.label) > 5
        for values, others in zip(one, other, strict=True):
            torch.testing.assert_close(values, others)


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
    with pytest.raises(ValueError, match=r"expected different strides among .* for test_resnet, got \(3,\)"):
        TimmBackbone(ENCODER, (3,))
    with pytest.raises(ValueError, match=r"expected anchor_sizes with one size for each level \(5\), got \(16, 32\)"):
        FasterRCNNDetector(TimmBackbone(ENCODER, (4, 8, 16, 32), 16), 3, anchor_sizes=(16, 32))


ONE_MAP = {
    "FCOS on one map": lambda: FCOSDetector(TimmBackbone(ENCODER, (16,)), 3, max_detections=5),
    "RetinaNet on one map": lambda: RetinaNetDetector(TimmBackbone(ENCODER, (16,)), 3, max_detections=5),
    "Faster R-CNN on one map": lambda: FasterRCNNDetector(TimmBackbone(ENCODER, (16,)), 3, max_detections=5),
}


@pytest.mark.parametrize("name", [*MAKERS, *ONE_MAP])
def test_no_boxes_in_images_of_odd_sizes(name):
    torch.manual_seed(0)
    net = (MAKERS | ONE_MAP)[name]()
    batch = make_batch(torch.rand(2, 3, 70, 101), [torch.zeros(0, 4)] * 2, [torch.zeros(0).long()] * 2)
    losses = net.losses(batch)
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in net.parameters())
    for attribute in ("score_thresh", "roi_heads"):  # all that is found, however unsure
        if isinstance(getattr(net.detector, attribute, None), float):
            setattr(net.detector, attribute, 0.0)
        elif hasattr(net.detector, attribute):
            net.detector.roi_heads.score_thresh = 0.0
    with torch.no_grad():
        actual = net.eval().detect(batch["image"])
    for one in actual:
        assert len(one.score) > 0
        assert len(one.score) <= (5 if name in ONE_MAP else 100)
        assert (one.boxes_xyxy >= 0).all()
        assert (one.boxes_xyxy <= torch.tensor([101, 70, 101, 70])).all()
        assert one.score.tolist() == sorted(one.score.tolist(), reverse=True)
        assert set(one.label.tolist()) <= {0, 1, 2}


def test_images_reach_the_detector_as_they_are(batch, monkeypatch):
    """Neither scaled nor normalized nor padded anew, for all that is done before."""
    net, seen = MAKERS["FCOS"](), []
    forward = net.backbone.forward
    monkeypatch.setattr(net.backbone, "forward", lambda image: seen.append(image) or forward(image))
    image = batch["image"][..., :61, :95].contiguous()
    net.losses(batch | {"image": image})
    torch.testing.assert_close(seen[0], image, rtol=0, atol=0)


def test_losses_in_evaluation_are_refused(batch):
    with pytest.raises(ValueError, match="expected a detector in training mode for losses, got evaluation mode"):
        MAKERS["FCOS"]().eval().losses(batch)


@pytest.mark.parametrize("strides", [(), (8, 64), (5,)])
def test_strides_that_the_encoder_lacks_are_named(strides):
    with pytest.raises(ValueError, match=r"expected different strides among \[.*\] for test_resnet, got \("):
        TimmBackbone(ENCODER, strides)


@pytest.mark.parametrize("strides", [(8, 16, 32), (32, 8, 16), (4, 8, 16, 32)])
def test_a_pyramid_has_a_map_for_each_stride_and_more_on_top(strides):
    backbone = TimmBackbone(ENCODER, strides, 32)
    maps = backbone(torch.rand(1, 3, 128, 128))
    assert backbone.strides == tuple(sorted(strides))
    assert len(maps) == backbone.num_levels == 5
    assert {one.shape[1] for one in maps.values()} == {backbone.out_channels} == {32}
    assert [128 // one.shape[-1] for one in maps.values()] == [
        strides[0] * 2**i if strides[0] < 32 else 8 * 2**i for i in range(5)
    ]


def test_anchors_are_cells_in_fcos_and_four_of_them_in_retinanet():
    fcos, retina = (MAKERS[name]().detector.anchor_generator.sizes for name in ("FCOS", "RetinaNet"))
    assert fcos == ((8,), (16,), (32,), (64,), (128,))
    assert retina[0] == (32, 40, 51)  # 32 * 2^(1/3), 32 * 2^(2/3)
    assert [sizes[0] for sizes in retina] == [32, 64, 128, 256, 512]
