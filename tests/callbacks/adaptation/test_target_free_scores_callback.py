"""Scores of each validation, compared with those of features and logits that are collected by hand."""

import copy
import math

import pytest
import torch
from adaptation_runs import Foreign
from domain_pairs import TinyNet, digits, fit, relabeled, tiny_method, two_digits, weights_of
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from settings import make_bdd100k, make_camvid, make_camvid_video, make_deep_feature_flow, make_detection
from torch import nn
from toys import make_trainer

from callbacks.adaptation import TENT, DomainNorms, MeanTeacher, TargetFreeScores
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Classification, Segmentation
from lightning_edge.metrics.adaptation.target_free_scores import KEYS, target_free_scores

SCORES = {f"target_free/{key}" for key in KEYS}


def make_data(change=lambda data: data, **options):
    """Ten images of each domain for validation, in batches of four."""
    source, target = (digits(name, num_samples=(60, 100), eval_batch_size=4) for name in ("mnist", "mnist_m"))
    return AdaptationDataModule(source, change(target), batches_per_epoch=2, **options)


class Collected(Callback):
    """Batches of each validation by loader, and a copy of the net."""

    def __init__(self):
        self.validations, self.scores = [], []

    def on_validation_epoch_start(self, trainer, pl_module):
        self.net, self.batches = copy.deepcopy(pl_module.net).eval(), {}
        for module in self.net.modules():
            module._forward_hooks.clear()

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        name = trainer.datamodule.evaluation_names[dataloader_idx]
        self.batches.setdefault(name, []).append(batch)

    def on_validation_end(self, trainer, pl_module):
        self.validations.append((self.net, self.batches))
        self.scores.append(scores_of(trainer))


def scores_of(trainer):
    return {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("target_free/")}


def score_by_hand(net, batches):
    with torch.no_grad():
        rows = {name: [(net.body(batch["image"]), batch["label"]) for batch in all_] for name, all_ in batches.items()}
        features = {name: torch.cat([one for one, _ in parts]) for name, parts in rows.items()}
        labels = torch.cat([one for _, one in rows[""]])
        logits = {name: net.head(values) for name, values in features.items()}
    scores = target_free_scores(features[""], logits[""], labels, features["target"], logits["target"])
    return {f"target_free/{key}": value for key, value in scores.items()}


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


def test_logits_without_a_label_for_each_are_refused(tmp_path):
    message = (
        r"expected one label for each sample or pixel .* got logits of shape \[4, 10, 4\] and batches of \['image'"
    )
    with pytest.raises(ValueError, match=message):
        fit(Classification(Tokens()), make_data(), TargetFreeScores(), limit_val_batches=1)
    data = AdaptationDataModule(make_bdd100k(), make_bdd100k())
    trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores()], limit_val_batches=1)
    with pytest.raises(ValueError, match="expected one label for each sample or pixel"):
        trainer.validate(make_detection(data.num_classes), data, verbose=False)


def test_video_clips_are_scored(tmp_path):
    data = AdaptationDataModule(make_camvid_video(), make_camvid_video())
    trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores(max_rows=200)], limit_val_batches=1)
    trainer.validate(make_deep_feature_flow(11), data, verbose=False)
    assert all(math.isfinite(value) for value in scores_of(trainer).values())
    assert set(scores_of(trainer)) == SCORES


def selected(text):
    """Epoch, and accuracy of the selected, the last and the best epoch, by score."""
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("target_free/")]
    return {row[0]: (int(row[1]), *row[2:5]) for row in rows}


class Accuracies(Callback):
    """Accuracy and scores of each validation."""

    def __init__(self):
        self.values = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            metrics = trainer.callback_metrics
            self.values.append({key: float(metrics[key]) for key in SCORES | {"val_target/accuracy"}})

    def expected(self):
        """The table by hand."""
        accuracies = [100 * values["val_target/accuracy"] for values in self.values]
        table = {}
        for key in SCORES:
            scores = [values[key] for values in self.values]
            epoch = scores.index(max(scores))
            table[key] = (epoch, *(f"{value:.1f}" for value in (accuracies[epoch], accuracies[-1], max(accuracies))))
        return table


FITS = {"max_epochs": 5, "limit_val_batches": 1.0}


@pytest.fixture
def quick(monkeypatch):
    """Scores that take no time and prefer different epochs."""

    def compute(source_features, source_logits, source_labels, target_features, target_logits):
        return {key: float(target_logits[:, number % 10].mean()) for number, key in enumerate(KEYS)}

    monkeypatch.setattr("callbacks.adaptation.target_free_scores.target_free_scores", compute)


def fast_method(seed=0):
    return tiny_method(seed, optimizer=lambda groups: torch.optim.Adam(groups, 0.1))


def make_easy_data():
    """A target on which the accuracy changes within a few steps."""
    source, target = (digits("mnist", num_samples=(60, 100)) for _ in range(2))
    return AdaptationDataModule(source, target, batches_per_epoch=12)


@pytest.mark.parametrize("logger", ["csv", "none"])
def test_a_table_at_the_end_shows_what_each_score_selects(logger, tmp_path, capsys, quick):
    other = tmp_path / "version_7"  # a run in a folder nearby
    other.mkdir()
    (other / "metrics.csv").write_text("epoch,step\n0,1\n")
    values = Accuracies()
    loggers = [CSVLogger(tmp_path, "", version="run")] if logger == "csv" else False
    fit(fast_method(), make_easy_data(), TargetFreeScores(), values, logger=loggers, folder=tmp_path, **FITS)
    table = selected(capsys.readouterr().out)
    assert table == values.expected()
    assert len({row[0] for row in table.values()}) > 1  # epochs
    assert len({row[1] for row in table.values()}) > 1  # and accuracies


def test_the_table_of_a_resumed_run_has_all_epochs(tmp_path, capsys, quick):
    keep = ModelCheckpoint(tmp_path, filename="at_{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    values = Accuracies()
    fit(fast_method(), make_easy_data(), TargetFreeScores(), values, keep, enable_checkpointing=True, **FITS)
    whole = capsys.readouterr().out
    path = tmp_path / "at_epoch=1.ckpt"
    fit(fast_method(3), make_easy_data(), TargetFreeScores(), ckpt_path=path, num_sanity_val_steps=1, **FITS)
    assert selected(capsys.readouterr().out) == selected(whole) == values.expected()


def test_a_second_fit_has_a_table_of_its_own(capsys, quick):
    scores = TargetFreeScores()
    for epochs in (4, 2):
        values = Accuracies()
        fit(fast_method(), make_easy_data(), scores, values, **FITS | {"max_epochs": epochs})
        assert selected(capsys.readouterr().out) == values.expected()


def test_no_table_is_shown_without_accuracy_or_if_it_is_not_wanted(capsys, quick):
    fit(tiny_method(), make_data(), TargetFreeScores(show_table=False), limit_val_batches=1.0)
    fit(tiny_method(), make_data(), TargetFreeScores(accuracy="val_target/miou"), limit_val_batches=1.0)
    fit(tiny_method(), make_data(), TargetFreeScores(), limit_val_batches=0)
    assert "oracle" not in capsys.readouterr().out


def test_a_checkpoint_is_selected_by_a_score(tmp_path, quick):
    keep = ModelCheckpoint(tmp_path, monitor="target_free/information", mode="max", filename="{epoch}")
    collected = Collected()
    fit(fast_method(), make_data(), TargetFreeScores(), collected, keep, enable_checkpointing=True, **FITS)
    information = [scores["target_free/information"] for scores in collected.scores]
    best = information.index(max(information))
    assert best > 0
    assert [path.name for path in tmp_path.iterdir()] == [f"epoch={best}.ckpt"]
    assert float(keep.best_model_score) == pytest.approx(max(information))


def test_the_sanity_check_is_not_scored(quick):
    seen = []

    class AtStart(Callback):
        def on_train_start(self, trainer, pl_module):
            seen.extend(scores_of(trainer))

    scores, collected = TargetFreeScores(), Collected()
    options = {"num_sanity_val_steps": 1, "limit_val_batches": 1.0}
    fit(tiny_method(), make_data(), scores, collected, AtStart(), **options)
    assert not seen
    assert collected.scores[0] == {}
    assert set(collected.scores[1]) == SCORES
    (evaluation,) = scores.state_dict()["evaluations"]
    assert set(evaluation) == SCORES | {"epoch", "val_target/accuracy"}


def test_too_few_rows_have_no_scores():
    data = two_digits(batches_per_epoch=1)  # with four images for validation
    with pytest.warns(UserWarning, match="TargetFreeScores needs 5 samples of source and target"):
        trainer = fit(tiny_method(), data, TargetFreeScores(), limit_val_batches=1.0)
    assert set(scores_of(trainer)) == SCORES
    assert all(math.isnan(value) for value in scores_of(trainer).values())


def test_nan_has_no_scores():
    class Breaks(TinyNet):
        def forward(self, image):
            logits = super().forward(image)
            return logits if self.training else self.head(torch.nan * self.body(image))

    with pytest.warns(UserWarning, match="features or logits contain NaN"):
        trainer = fit(Classification(Breaks()), make_data(), TargetFreeScores(), limit_val_batches=1.0)
    assert all(math.isnan(value) for value in scores_of(trainer).values())
    assert trainer.global_step == 2


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda: digits("mnist"), "DigitsDataModule"),
        (lambda: make_data(evaluate=("target",)), "AdaptationDataModule, which evaluates one of them"),
    ],
)
def test_both_domains_are_needed(make, got):
    message = rf"expected a data module that evaluates source and target for TargetFreeScores, .* got {got}$"
    with pytest.raises(ValueError, match=message):
        fit(tiny_method(), make(), TargetFreeScores())


def test_a_layer_that_does_not_run_is_refused():
    class Unused(TinyNet):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(8, 10)

    with pytest.raises(ValueError, match="expected layer as a part of Classification that runs in validation_step"):
        fit(Classification(Unused()), make_data(), TargetFreeScores(), limit_val_batches=1)
    with pytest.raises(ValueError, match=r"expected layer as the name of a part of Classification, .* got 'net\.haed'"):
        fit(tiny_method(), make_data(), TargetFreeScores("net.haed"))


def test_another_layer(quick):
    class Reversed(TinyNet):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(8, 10)

    results = []
    for method, layer in ((tiny_method(), None), (Classification(Reversed()), "net.head")):
        method.net.load_state_dict(tiny_method().net.state_dict(), strict=False)
        trainer = make_trainer(None, callbacks=[TargetFreeScores(layer)])
        trainer.validate(method, make_data(), verbose=False)
        results.append(scores_of(trainer))
    assert results[0] == results[1]


def test_bad_numbers_of_rows_are_refused():
    with pytest.raises(ValueError, match="expected max_rows of at least 5, got 4"):
        TargetFreeScores(max_rows=4)


class Fails(Callback):
    def on_train_batch_end(self, *args, **kwargs):
        raise RuntimeError("power cut")


def test_training_is_not_changed_and_no_hook_stays(quick):
    plain, method = tiny_method(), tiny_method()
    torch.manual_seed(1)
    fit(plain, make_data(), MeanTeacher(threshold=0.05), limit_val_batches=1.0)
    torch.manual_seed(1)
    scores = TargetFreeScores()
    fit(method, make_data(), MeanTeacher(threshold=0.05), scores, limit_val_batches=1.0)
    torch.testing.assert_close(weights_of(method), weights_of(plain), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(method, make_data(), scores, Fails())
    assert all(not module._forward_hooks for module in method.modules())
    assert scores._seen is None
    assert scores._rows == {}


def test_a_module_of_someone_else_is_scored(quick):
    class Validates(Foreign):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self(batch["image"])

    torch.manual_seed(0)
    trainer = fit(Validates(), make_data(), TargetFreeScores(), limit_val_batches=1.0)
    assert all(math.isfinite(value) for value in scores_of(trainer).values())


def test_adaptation_at_test_time_and_norms_of_each_domain_take_part(tmp_path):
    class NormNet(TinyNet):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(self.body, nn.BatchNorm1d(8))

    results = []
    for more in ([], [TENT()], [DomainNorms()]):
        torch.manual_seed(0)
        method = Classification(NormNet())
        trainer = make_trainer(tmp_path, callbacks=[*more, TargetFreeScores()])
        trainer.validate(method, make_data(), verbose=False)
        results.append(scores_of(trainer))
    assert results[0] == results[2]
    assert results[0] != results[1]
    assert all(math.isfinite(value) for value in results[1].values())


@pytest.mark.slow
def test_a_compiled_net_is_scored(tmp_path):
    torch.compiler.reset()
    results = []
    for compile_net in (False, True):
        method = tiny_method()
        if compile_net:
            method.net = torch.compile(method.net)
            method.net(torch.rand(4, 3, 32, 32))
        trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores("net._orig_mod.head" if compile_net else None)])
        trainer.validate(method, make_data(), verbose=False)
        results.append(scores_of(trainer))
    assert results[0] == pytest.approx(results[1], rel=1e-3, abs=1e-3)


class SavesRows(Collected):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_validation_end(self, trainer, pl_module):
        by_hand = score_by_hand(self.net, self.batches)
        torch.save((by_hand, scores_of(trainer)), self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.slow
def test_processes_log_the_mean_of_the_scores_of_their_shares(tmp_path, capfd):
    source, target = (digits(name, num_samples=(60, 200), eval_batch_size=4) for name in ("mnist", "mnist_m"))
    data = AdaptationDataModule(source, target, batches_per_epoch=2)
    options = {"devices": 2, "strategy": "ddp_fork", "limit_val_batches": 1.0}
    fit(tiny_method(), data, TargetFreeScores(), SavesRows(tmp_path), **options)
    (first, logged), (second, also_logged) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert logged == also_logged
    assert first != second
    assert logged == pytest.approx({key: (first[key] + second[key]) / 2 for key in first}, rel=1e-4, abs=1e-5)
    assert capfd.readouterr().out.count("selected without its labels") == 1
