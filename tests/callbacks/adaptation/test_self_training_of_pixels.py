"""The mean teacher for segmentation, with mixing."""

import pytest
import torch
import torch.nn.functional as F
from domain_pairs import fit, tiny_method, two_digits
from settings import (
    make_camvid,
    make_camvid_video,
    make_deep_feature_flow,
    make_segmentation,
)
from teacher_runs import Terms, watch
from torch import nn
from torch.func import functional_call

from callbacks.adaptation import MeanTeacher
from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Segmentation
from lightning_edge.nn.adaptation.appearance import RandomAppearance

NO_CHANGE = RandomAppearance(contrast=0, brightness=0, patch=0)


class PixelNet(nn.Module):
    num_classes = 11

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Conv2d(6, 11, 1)

    def forward(self, image):
        return self.head(self.body(image))


def pixel_method():
    torch.manual_seed(0)
    return Segmentation(PixelNet())


def streets(**options):
    return AdaptationDataModule(make_camvid(), make_camvid(), **options)


@pytest.mark.parametrize("mix", [False, True])
def test_pixels_count_by_the_share_of_confident_ones_and_pasted_ones_have_labels_of_the_source(mix):
    callback, terms = MeanTeacher(threshold=0.12, mix=mix, ramp=False, appearance=NO_CHANGE), Terms()
    witness = watch(pixel_method(), streets(batches_per_epoch=2), terms, callback)
    for (batch, target, net, state), seen, values in zip(witness.batches, witness.seen, terms.values, strict=True):
        weights = {name.removeprefix("net."): state[own].clone() for name, own in callback.nets._names.items()}
        with torch.no_grad():
            probabilities, labels = functional_call(net, weights, target).softmax(1).max(1)
        changed = seen[2]
        losses, num_pasted = [], 0
        logits = net(changed)
        for index in range(len(target)):
            share = float((probabilities[index] > 0.12).float().mean())
            is_pasted = ~torch.isclose(changed[index], target[index], atol=1e-5).all(0)
            torch.testing.assert_close(
                changed[index][:, is_pasted], batch["image"][index][:, is_pasted], rtol=0, atol=1e-5
            )
            num_pasted += int(is_pasted.sum())
            own = batch["mask"][index]
            pasted = set(own[is_pasted].tolist())
            assert IGNORE_INDEX not in pasted
            present = set(own.flatten().tolist()) - {IGNORE_INDEX}
            assert len(pasted) == (mix and (len(present) + 1) // 2)
            is_pasted = torch.isin(own, torch.tensor(sorted(pasted), dtype=own.dtype))  # equal colors are no change
            label = torch.where(is_pasted, own, labels[index])
            weight = torch.where(is_pasted, 1.0, share)
            losses.append(weight * F.cross_entropy(logits[index][None], label[None], reduction="none")[0])
        assert (num_pasted > 0) is mix
        expected = float(torch.stack(losses).mean().detach())
        assert values["train/mean_teacher"] == pytest.approx(expected, rel=1e-3)


def test_mixing_is_drawn_again_in_each_step_and_repeated_by_a_seed():
    def pasted(seed):
        callback = MeanTeacher(threshold=0.12, mix=True, appearance=NO_CHANGE, seed=seed)
        witness = watch(pixel_method(), streets(batches_per_epoch=2), callback)
        return [seen[2] for seen in witness.seen]

    first, again, other = pasted(0), pasted(0), pasted(1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert any(not torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_what_cannot_be_mixed_is_refused():
    other = make_camvid()
    other.batch_size = 4
    cases = [
        (pixel_method(), AdaptationDataModule(make_camvid(), other), r"got \(2, 3, 64, 96\) and \(4, 3, 64, 96\)"),
        (tiny_method(), two_digits(), r"got \(4, 3, 32, 32\) and \(4, 3, 32, 32\): use mix=False"),
    ]
    for method, data, message in cases:
        with pytest.raises(ValueError, match=f"expected images with masks of one size .*{message}"):
            fit(method, data, MeanTeacher(mix=True), limit_train_batches=1)


def test_clips_have_a_teacher_but_are_not_mixed():
    def data():
        return AdaptationDataModule(make_camvid_video(), make_camvid_video())

    trainer = fit(make_deep_feature_flow(11), data(), MeanTeacher(threshold=0.05), limit_train_batches=2)
    assert trainer.callback_metrics["train/mean_teacher"].isfinite()
    with pytest.raises(ValueError, match="expected images with masks of one size"):
        fit(make_deep_feature_flow(11), data(), MeanTeacher(mix=True), limit_train_batches=1)


def test_a_real_segmentation_net_is_taught():
    trainer = fit(make_segmentation(11), streets(), MeanTeacher(threshold=0.0, mix=True), limit_train_batches=2)
    assert trainer.callback_metrics["train/mean_teacher"] > 0
