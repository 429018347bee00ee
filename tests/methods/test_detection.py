"""The detection method: domains reach the net, and scores the log."""

import pytest
import torch
from torch import nn
from toys import make_trainer

from lightning_edge.contracts import Detections
from lightning_edge.data import BDD100KDataModule
from lightning_edge.methods import Detection
from lightning_edge.nn import CenterDetector, DomainNet
from lightning_edge.nn.dynamic.experts import DomainConv2d


def make_data(**arguments):
    defaults = {"sample_size": (64, 96), "input_size": (64, 96), "num_samples": (10, 10)}
    return BDD100KDataModule(**defaults | arguments, batch_size=5, num_workers=0)


class Perfect(nn.Module):
    """Finds what the data module says is there, but by night."""

    num_classes = 10

    def __init__(self, data):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.data, self.next = data, 0

    def losses(self, batch):
        return {"nothing": 0 * self.weight, "less": 0 * self.weight}

    def detect(self, image):
        actual = []
        for _ in image:
            truth = self.data.dataset("val")[self.next]
            is_night = self.data.domain_names[truth["domain"]].startswith("night")
            boxes = truth["boxes_xyxy"][: 0 if is_night else None]
            actual.append(Detections(boxes, torch.ones(len(boxes)), truth["label"][: len(boxes)]))
            self.next += 1
        return actual


def test_scores_are_logged_by_class_and_domain(tmp_path):
    data = make_data()
    trainer = make_trainer(tmp_path)
    trainer.validate(Detection(Perfect(data)), data, verbose=False)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["val/ap50_daytime_clear"] == pytest.approx(1)
    assert logged["val/ap50_night_clear"] == 0
    assert 0.5 < logged["val/ap50"] < 1
    assert {"val/ap", "val/ap75", "val/ap_car", "val/ap50_dawn_dusk_clear"} <= logged.keys()
    assert "val/ap50_night_rainy" not in logged  # no image is of it


def test_a_net_is_told_the_domain_of_each_image(tmp_path):
    seen = []

    class Watched(DomainConv2d):
        def gates_of(self, image):
            seen.append((self.domains.embeddings.shape, self.domains.domain_index))
            return super().gates_of(image)

    torch.manual_seed(0)
    net = DomainNet(CenterDetector("test_resnet", 10, channels=8), 28, 2, "encoder")
    layer = next(module for module in net.modules() if isinstance(module, DomainConv2d))
    layer.__class__ = Watched
    trainer = make_trainer(tmp_path, num_sanity_val_steps=0)
    trainer.fit(Detection(net), make_data())
    assert len(seen) == 4  # two batches of each split
    assert all(shape[1] == 28 and shape[0] > 1 and len(index) == 5 for shape, index in seen)
    assert layer.domains is None


def test_each_term_of_the_loss_is_logged(tmp_path):
    data = make_data()
    trainer = make_trainer(tmp_path, limit_val_batches=0)
    trainer.fit(Detection(Perfect(data)), data)
    assert {"train/loss", "train/nothing", "train/less"} <= trainer.callback_metrics.keys()


def test_a_net_that_is_no_detector_is_refused():
    with pytest.raises(ValueError, match=r"expected a detector with losses\(\) and detect\(\), got Linear"):
        Detection(nn.Linear(1, 1))


@pytest.mark.parametrize("num_val", [9, 10])
def test_two_processes_are_scored_together(num_val, tmp_path):
    """Of nine images, one is evaluated twice."""
    scores = []
    for arguments in ({}, {"strategy": "ddp_fork", "devices": 2}):
        torch.manual_seed(0)
        method = Detection(CenterDetector("test_resnet", 10, channels=8))
        trainer = make_trainer(tmp_path, **arguments)
        trainer.validate(method, make_data(num_samples=(10, num_val)), verbose=False)
        scores.append({name: float(value) for name, value in trainer.callback_metrics.items()})
    assert scores[0].keys() == scores[1].keys()
    assert "val/ap50_night_clear" in scores[0]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
