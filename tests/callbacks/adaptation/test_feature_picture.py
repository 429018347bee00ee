"""Scatters of the features of source and target."""

import csv

import numpy as np
import pytest
import torch
import wandb
from adaptation_runs import make_streets, make_traffic
from domain_pairs import digits, relabeled, tiny_method, two_digits
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from matplotlib.colors import to_hex
from settings import make_detection, make_segmentation
from texts_in_figures import beyond_the_edge, drawn_texts, overlapping
from toys import make_trainer
from wandb_offline import read_offline_run

from callbacks._pictures import feature_points
from callbacks._pictures.feature_points import FeaturePoints, class_colors, draw_features, project
from callbacks.adaptation import FeaturePicture, feature_picture
from lightning_edge.data import AdaptationDataModule

NAMES = tuple(map(str, range(10)))


def run(folder, callback, data=None, command="fit", ckpt_path=None, method=None, **options):
    logger = CSVLogger(folder, "", "")
    trainer = make_trainer(folder, **({"logger": logger, "callbacks": [callback], "log_every_n_steps": 1} | options))
    data = two_digits(batch_size=16, batches_per_epoch=1) if data is None else data
    call = trainer.fit if command == "fit" else trainer.validate
    call(tiny_method() if method is None else method, data, ckpt_path=ckpt_path)
    return trainer


@pytest.fixture
def drawn(monkeypatch):
    """The panels of each picture."""
    calls, draw = [], feature_picture.draw_features
    monkeypatch.setattr(
        feature_picture, "draw_features", lambda *arguments: (calls.append(arguments), draw(*arguments))[1]
    )
    return calls


def larger(**options):
    """Enough images for a picture."""
    sides = (digits(name, num_samples=(60, 200), batch_size=16) for name in ("mnist", "mnist_m"))
    return AdaptationDataModule(*sides, batches_per_epoch=1, **options)


def test_the_points_are_the_first_two_principal_components_of_both_domains(drawn, tmp_path):
    data, method = larger(), tiny_method()
    run(tmp_path, FeaturePicture(), data, "validate", method=method)
    (panels, names, colors, color_target) = drawn[0]
    (points,) = panels
    features = []
    for side in (data.source, data.target):
        batch = side.on_after_batch_transfer(side.collate([*map(side.dataset("val").__getitem__, range(20))]), 0)
        features.append(method.net.body(batch["image"]).detach().double().numpy())
        if side is data.source:
            assert points.label.tolist() == batch["label"].tolist()
        else:
            assert points.prediction.tolist() == method(batch["image"]).argmax(1).tolist()
    both = np.concatenate(features)
    both = both - both.mean(0)
    directions = np.linalg.eigh(both.T @ both)[1][:, [-1, -2]]
    expected = both @ directions
    actual = np.concatenate([points.source, points.target])
    np.testing.assert_allclose(np.abs(actual), np.abs(expected), atol=1e-5)
    assert (np.sign(actual) * np.sign(expected) == np.sign(actual[0]) * np.sign(expected[0])).all()
    assert (len(points.source), len(points.target)) == (20, 20)
    assert (names, color_target) == ([*NAMES], False)
    assert len(set(colors)) == 10
    assert (tmp_path / "figures/features_val.png").is_file()


def test_a_fit_shows_the_first_and_the_last_validation(drawn, tmp_path):
    run(tmp_path, FeaturePicture(), larger(), max_epochs=6, check_val_every_n_epoch=2)
    ((panels, *_),) = drawn
    assert [points.epoch for points in panels] == [1, 5]
    assert not np.allclose(panels[0].source, panels[1].source)
    assert (tmp_path / "figures/features.png").is_file()


def test_a_fit_with_one_validation_has_one_panel_and_one_without_none(drawn, tmp_path):
    run(tmp_path, FeaturePicture(), larger())
    assert [points.epoch for points in drawn[0][0]] == [0]
    run(tmp_path, FeaturePicture(), larger(), limit_val_batches=0)
    run(tmp_path, FeaturePicture(), larger(), fast_dev_run=True)
    assert len(drawn) == 1


def test_a_resumed_run_keeps_the_first_points(drawn, tmp_path):
    keep = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    options = {"enable_checkpointing": True, "max_epochs": 3}
    run(tmp_path, None, larger(), callbacks=[FeaturePicture(), keep], **options)
    resumed = FeaturePicture()
    run(tmp_path / "resumed", resumed, larger(), ckpt_path=str(tmp_path / "epoch=1.ckpt"), max_epochs=3)
    (whole, *_), (parts, *_) = drawn
    for one, other in zip(whole, parts, strict=True):
        assert one.epoch == other.epoch
        assert all(np.array_equal(*pair) for pair in zip(one[1:], other[1:], strict=True))


def test_labels_of_the_target_change_nothing(drawn, tmp_path):
    run(tmp_path, FeaturePicture(), larger(), "validate")
    data = larger()
    relabeled(data.target)
    run(tmp_path, FeaturePicture(color_target=True), data, "validate")
    (first, *_), (second, *_) = drawn
    assert np.array_equal(first[0].target, second[0].target)
    assert np.array_equal(first[0].prediction, second[0].prediction)


def test_a_sample_has_at_most_the_wished_number_of_points(drawn, tmp_path):
    run(tmp_path, FeaturePicture(max_points=7), larger(), "validate")
    (points,) = drawn[0][0]
    assert (len(points.source), len(points.target)) == (7, 7)


def test_pixels_of_segmentation_are_points_too(drawn, tmp_path):
    run(tmp_path, FeaturePicture(max_points=40), make_streets(), "validate", method=make_segmentation(11))
    (points,), names, *_ = drawn[0]
    assert len(points.target) == 40
    assert names[points.label.max()] in make_streets().class_names


def test_neighborhoods_of_tsne_are_kept():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.eye(3, 8) * 20, 15, 0) + rng.normal(size=(45, 8))
    places = project(clusters, "tsne")
    assert np.array_equal(places, project(clusters, "tsne"))
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(1) // 15 == np.arange(45) // 15).all()


def test_one_feature_is_drawn_on_a_line():
    assert project(np.array([[3.0], [1.0]]), "pca").tolist() == [[3, 0], [1, 0]]


def points_of(epoch, count=30, num_classes=10):
    rng = np.random.default_rng(epoch)
    labels = np.arange(count) % num_classes
    return FeaturePoints(epoch, rng.normal(size=(count, 2)), rng.normal(size=(count, 2)), labels, labels[::-1])


def test_the_target_is_gray_or_has_the_color_of_its_prediction():
    colors = class_colors([(0, 0, 0)] * 10)
    for color_target in (False, True):
        figure = draw_features([points_of(1)], NAMES, colors, color_target)
        source, target = figure.axes[0].collections
        shown = [[to_hex(color) for color in group.get_facecolors()] for group in (source, target)]
        assert shown[0] == [colors[label].lower() for label in points_of(1).label]
        if color_target:
            assert shown[1] == [colors[label].lower() for label in points_of(1).prediction]
        else:
            assert set(shown[1]) == {feature_points._GRAY}


@pytest.mark.parametrize("num_panels", [1, 2])
@pytest.mark.parametrize("num_classes", [3, 19])
def test_the_texts_are_readable(num_panels, num_classes, monkeypatch):
    panels = [points_of(epoch, num_classes=num_classes) for epoch in range(num_panels)]
    names = [f"traffic sign {number}" for number in range(num_classes)]
    figure = draw_features(panels, names, class_colors([(9 * label, 0, 0) for label in range(num_classes)]), False)
    texts = drawn_texts(figure, monkeypatch)
    assert {text.get_text() for text in texts} >= {"source", "target", *names}
    assert not overlapping(texts)
    assert not beyond_the_edge(figure, texts)


def test_wandb_has_the_picture_and_the_points(tmp_path):
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    run(tmp_path, FeaturePicture(), larger(), "validate", logger=logger)
    wandb.finish()
    result = read_offline_run(tmp_path)
    assert result.column("val/features/count") == [1]
    assert result.column("val/feature_points/nrows") == [40]


def test_outputs_that_are_nan_leave_the_run_alone(drawn, tmp_path):
    method = tiny_method()
    torch.nn.init.constant_(method.net.body[2].weight, float("nan"))
    with pytest.warns(UserWarning, match="There is no picture of the features after epoch 0"):
        run(tmp_path, FeaturePicture(), larger(), "validate", method=method)
    assert not drawn
    assert list(csv.reader((tmp_path / "metrics.csv").open()))


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="expected max_points of at least 5, got 2"):
        FeaturePicture(max_points=2)
    with pytest.raises(ValueError, match=r"expected a data module that evaluates source and target .* got Digits"):
        run(tmp_path, FeaturePicture(), digits("mnist"), "validate")
    with pytest.raises(ValueError, match="expected layer as the name of a part of Classification, such as"):
        run(tmp_path, FeaturePicture(layer="net.boddy"), larger(), "validate")


def test_candidates_of_detection_are_drawn_with_the_background(drawn, tmp_path):
    data = make_traffic()
    run(tmp_path, FeaturePicture(color_target=True), data, "validate", method=make_detection(10))
    panels, names, colors, _ = drawn[0]
    assert tuple(names) == (*data.class_names, "background")
    assert len(colors) == len(names)
    assert list(colors[:-1]) == list(class_colors(data.palette))  # those for color-blind readers
    assert colors[-1] not in colors[:-1]
    labels = set(panels[0].label.tolist())
    assert 10 in labels  # the background
    assert len(labels) > 1


def test_a_second_fit_shows_its_own_first_validation(drawn, tmp_path):
    picture = FeaturePicture()
    run(tmp_path, picture, larger())
    run(tmp_path, picture, larger(), method=tiny_method(seed=5))
    first, second = (panels[0] for panels, *_ in drawn)
    assert not np.allclose(first.source, second.source)
