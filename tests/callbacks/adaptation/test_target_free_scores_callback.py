"""Scores of a module without labels of the target, compared with those of all rows by hand."""

import math

import pytest
import torch
from domain_pairs import TinyNet, fit, relabeled, tiny_method
from settings import make_camvid, make_camvid_video, make_deep_feature_flow
from target_free_runs import SCORES, Collected, make_data, score_by_hand, scores_of
from torch import nn
from toys import make_trainer

from callbacks.adaptation import TargetFreeScores
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Classification, Segmentation
from lightning_edge.metrics.adaptation.target_free_scores import target_free_scores


@pytest.mark.parametrize("evaluate", [("source", "target"), ("target", "source")])
def test_scores_are_those_of_all_rows(evaluate):
    collected = Collected()
    fit(tiny_method(), make_data(evaluate=evaluate), TargetFreeScores(), collected, max_epochs=2, limit_val_batches=1.0)
    assert len(collected.validations) == 2
    for (net, batches), scores in zip(collected.validations, collected.scores, strict=True):
        assert [len(batch["label"]) for batch in batches["target"]] == [4, 4, 2]
        assert scores == pytest.approx(score_by_hand(net, batches), rel=1e-5, abs=1e-6)
    assert collected.scores[0] != collected.scores[1]


def test_a_validation_alone_has_the_same_scores(tmp_path):
    method = tiny_method()
    fitted = fit(method, make_data(), TargetFreeScores(), limit_val_batches=1.0)
    trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores()])
    trainer.validate(method, make_data(), verbose=False)
    assert scores_of(trainer) == scores_of(fitted)
    assert set(scores_of(trainer)) == SCORES
    tested = make_trainer(tmp_path, callbacks=[TargetFreeScores()])
    tested.test(method, make_data(), verbose=False)
    assert not scores_of(tested)


def test_labels_of_the_target_are_never_used():
    results = []
    for change in (lambda data: data, relabeled):
        trainer = fit(tiny_method(), make_data(change), TargetFreeScores(), max_epochs=2, limit_val_batches=1.0)
        results.append((scores_of(trainer), float(trainer.callback_metrics["val_target/accuracy"])))
    (scores, accuracy), (others, other_accuracy) = results
    assert scores == others
    assert accuracy != other_accuracy


def test_a_sample_of_the_rows_is_the_same_in_each_validation():
    class Keeps(TargetFreeScores):
        kept = ()

        def use_rows(self, trainer, module, source, target):
            self.kept = (*self.kept, {"": source.features, "target": target.features})
            super().use_rows(trainer, module, source, target)

    scores, collected = Keeps(max_rows=7), Collected()
    fit(tiny_method(), make_data(), scores, collected, max_epochs=2, limit_val_batches=1.0)
    places = []
    for (net, batches), kept in zip(collected.validations, scores.kept, strict=True):
        for name, rows in kept.items():
            assert len(rows) == 6  # two of each batch, of which the last one has no more
            with torch.no_grad():
                all_rows = net.body(torch.cat([batch["image"] for batch in batches[name]]))
            places.append([int((all_rows - row).abs().sum(1).argmin()) for row in rows])
            torch.testing.assert_close(all_rows[places[-1]], rows)
            assert len(set(places[-1])) == 6
    assert places[:2] == places[2:]


class CoarseNet(nn.Module):
    """A map of logits in a quarter of the resolution."""

    num_classes = 11

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.Tanh())
        self.head = nn.Conv2d(5, 11, 1)

    def forward(self, image):
        return nn.functional.interpolate(self.head(self.body(image)), scale_factor=4)


def pixel_rows(maps, labels=None):
    """Pixels of maps, with the label of the first of the 4x4 pixels that each stands for, by loops."""
    rows, kept = [], []
    for index, one in enumerate(maps):
        for row in range(one.shape[1]):
            for column in range(one.shape[2]):
                label = 0 if labels is None else int(labels[index, 4 * row, 4 * column])
                if label != 255:
                    rows.append(one[:, row, column])
                    kept.append(label)
    return torch.stack(rows), torch.tensor(kept)


def ignore_some(batch):
    batch["mask"][:, 8:20, 30:60] = 255


class IgnoresSome(Segmentation):
    def on_validation_batch_start(self, batch, batch_idx, dataloader_idx=0):
        batch["mask"][:, 8:20, 30:60] = 255


def test_pixels_of_segmentation_align_with_their_labels():
    torch.manual_seed(0)
    method, collected = IgnoresSome(CoarseNet()), Collected()
    source, target = make_camvid(), make_camvid()
    data = AdaptationDataModule(source, target, batches_per_epoch=1)
    options = {"limit_train_batches": 1, "limit_val_batches": 2}
    trainer = fit(method, data, TargetFreeScores(max_rows=10_000), collected, **options)
    (net, batches) = collected.validations[0]
    parts = {"": [], "target": []}
    for name, part in parts.items():
        for batch in batches[name]:
            with torch.no_grad():
                features = net.body(batch["image"])
                logits = net.head(features)
            labels = batch["mask"] if name == "" else None
            part.append((*pixel_rows(features, labels), pixel_rows(logits, labels)[0]))
    features, labels, logits = (torch.cat(values) for values in zip(*parts[""], strict=True))
    target_features, _, target_logits = (torch.cat(values) for values in zip(*parts["target"], strict=True))
    num_batches, per_image = len(batches[""]), 16 * 24
    assert len(labels) <= num_batches * 2 * (per_image - 3 * 7) < len(target_features) == num_batches * 2 * per_image
    expected = target_free_scores(features, logits, labels, target_features, target_logits)
    assert scores_of(trainer) == pytest.approx({f"target_free/{k}": v for k, v in expected.items()}, rel=1e-4, abs=1e-5)


class ChannelsLast(nn.Module):
    """Logits of pixels from a linear layer, whose channels come last."""

    num_classes = 11

    def __init__(self, net):
        super().__init__()
        self.body, self.head = net.body, nn.Linear(5, 11)
        self.head.load_state_dict({"weight": net.head.weight[:, :, 0, 0], "bias": net.head.bias})

    def forward(self, image):
        logits = self.head(self.body(image).movedim(1, -1)).movedim(-1, 1)
        return nn.functional.interpolate(logits, scale_factor=4)


def test_a_linear_layer_of_pixels_has_the_scores_of_a_convolution(tmp_path):
    torch.manual_seed(0)
    net, results = CoarseNet(), []
    for each in (net, ChannelsLast(net)):
        trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores(max_rows=300)], limit_val_batches=2)
        data = AdaptationDataModule(make_camvid(), make_camvid())
        trainer.validate(Segmentation(each), data, verbose=False)
        results.append(scores_of(trainer))
    assert results[0] == pytest.approx(results[1], rel=1e-4, abs=1e-5)


class Tokens(TinyNet):
    """Logits of several places of an image, whose mean is the prediction."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(2))
        self.head = nn.Linear(3, 10)

    def forward(self, image):
        return self.head(self.body(image).movedim(1, -1)).mean(1)


def test_logits_without_a_label_for_each_are_refused():
    message = (
        r"expected one label for each sample or pixel .* got logits of shape \[4, 10, 4\] and batches of \['image'"
    )
    with pytest.raises(ValueError, match=message):
        fit(Classification(Tokens()), make_data(), TargetFreeScores(), limit_val_batches=1)


def test_video_clips_are_scored(tmp_path):
    data = AdaptationDataModule(make_camvid_video(), make_camvid_video())
    trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores(max_rows=200)], limit_val_batches=1)
    trainer.validate(make_deep_feature_flow(11), data, verbose=False)
    assert all(math.isfinite(value) for value in scores_of(trainer).values())
    assert set(scores_of(trainer)) == SCORES
