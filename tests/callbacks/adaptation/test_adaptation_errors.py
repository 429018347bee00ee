"""What adaptation callbacks refuse, each with one sentence that says what to do."""

import pytest
import settings
import torch
from domain_pairs import TinyNet, digits, fit, relabeled, tiny_method, two_digits
from lightning.pytorch import Callback
from torch import nn
from toys import make_trainer

from callbacks.adaptation import (
    ADDA,
    BNM,
    CDAN,
    CMD,
    CORAL,
    DAN,
    DANN,
    JAN,
    MCC,
    MCD,
    MDD,
    ClassDiscrepancy,
    DeepJDOT,
    EntropyMinimization,
    MeanTeacher,
    PseudoBoxes,
)
from callbacks.adaptation._layers import NamedLayer, find_layer, layer_like, num_inputs, num_outputs
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Classification


def refuse(message, callback, method=None, data=None, error=ValueError, **options):
    method = tiny_method() if method is None else method
    with pytest.raises(error, match=message) as raised:
        fit(method, two_digits(batches_per_epoch=1) if data is None else data, callback, **options)
    assert "\n" not in str(raised.value)
    assert not method.loss_terms
    return str(raised.value)


NO_TARGET = r"data module with unlabeled target data, such as AdaptationDataModule\(source, target\), got "


def test_missing_target_data_are_refused_before_training():
    method = tiny_method()
    method.training_step = lambda *arguments: pytest.fail("expected no training")
    refuse(NO_TARGET + "DigitsDataModule", CORAL(), method, digits("mnist"))


def test_loaders_without_a_data_module_are_refused():
    data = digits("mnist")
    data.prepare_data()
    refuse(NO_TARGET + "none", DANN(), data=data.train_dataloader())


def test_a_data_module_that_gives_no_batch_is_refused():
    class Forgets(AdaptationDataModule):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            batch = super().on_after_batch_transfer(batch, dataloader_idx)
            self.target_batch = None
            return batch

    data = Forgets(digits("mnist"), digits("mnist_m"))
    refuse("expected a target batch beside each training batch, got none of Forgets", DAN(), data=data)


def test_near_names_of_an_unknown_layer_are_listed():
    message = refuse(
        r"expected layer as the name of a part of Classification, such as \[.*\], got 'net.hed'", DAN(layer="net.hed")
    )
    assert "'net.head'" in message
    assert "'net.head'" in refuse("got 'x'", DAN(layer="x"), LooksLike())


class LooksLike(Classification):
    def __init__(self):
        super().__init__(TinyNet())


def test_a_layer_that_does_not_run_is_refused():
    method = tiny_method()
    method.net.unused = nn.Linear(8, 10)
    refuse(
        "part of Classification that processes the source batch in training_step, got 'net.unused', which did not run",
        DAN(),
        method,
    )
    fit(method, two_digits(batches_per_epoch=1), DAN(layer="net.head"))


def test_a_layer_that_runs_in_training_only_is_refused():
    class Auxiliary(Classification):
        def __init__(self):
            super().__init__(TinyNet())
            self.auxiliary = nn.Linear(48, 10)

        def loss(self, batch):
            return super().loss(batch) + self.auxiliary(self.net.body[:2](batch["image"])).square().mean()

    refuse("that processes the target batch in forward, got 'auxiliary', which did not run", DAN(), Auxiliary())


def test_accel_names_the_layer_that_does_not_run_in_its_first_stage():
    data = AdaptationDataModule(settings.make_camvid_video(), settings.make_camvid_video())
    method = settings.make_accel(data.num_classes)
    refuse("got 'net.fusion', which did not run: name another one by the argument layer", DAN(), method, data)
    head = find_layer(method.net.reference, None, data.num_classes).name
    fit(method, data, DAN(layer=f"net.reference.{head}"), limit_train_batches=1)


def test_a_module_without_a_last_layer_is_refused():
    class Convolutions(nn.Module):
        num_classes = 10

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, image):
            return self.conv(self.stem(image)).mean((2, 3)).repeat(1, 3)[:, :10]

    message = r"linear layer or a convolution with num_classes \(10\) outputs, got none: name the layer"
    refuse(message, DAN(), Classification(Convolutions()))
    fit(Classification(Convolutions()), two_digits(batches_per_epoch=1), DAN(layer="net.conv"))


def test_a_layer_without_sizes_is_refused_by_a_discriminator():
    refuse(
        "number of its inputs, such as a linear layer or a convolution, got Tanh for 'net.body.3'",
        DANN(layer="net.body.3"),
    )
    refuse("as a linear layer or a convolution, got Tanh for 'net.body.3'", MCD(layer="net.body.3"))


def test_inputs_that_are_no_tensors_are_refused():
    class Takes(nn.Module):
        def forward(self, pair):
            return pair[0]

    method = tiny_method()
    method.net.body.append(Takes())
    method.net.body.insert(4, Pairs())
    refuse("whose first input is a tensor, got tuple for 'net.body.5'", DAN(layer="net.body.5"), method)


class Pairs(nn.Module):
    def forward(self, features):
        return features, features


@pytest.mark.parametrize("callback", [CORAL, DAN, DANN])
def test_a_layer_whose_input_nothing_trained_computes_is_refused(callback):
    method = tiny_method()
    first = next(name for name, part in method.named_modules() if isinstance(part, nn.Linear))
    for part in method.net.modules():
        if part is method.get_submodule(first):
            break
        for parameter in part.parameters(recurse=False):
            parameter.requires_grad = False
    message = f"expected layer behind parameters that are trained, because {callback.__name__} adapts its input, got '"
    refuse(message, callback(layer=first), method)


def test_one_image_has_no_covariance():
    data = two_digits(batch_size=1, batches_per_epoch=1)
    refuse("expected 2 or more samples as source, got 1; enlarge its batch", CORAL(), data=data)
    fit(tiny_method(), data, CMD())


ALL = [DAN, JAN, CORAL, CMD, ClassDiscrepancy, MCC, EntropyMinimization, BNM, DANN, MDD]


@pytest.mark.parametrize("callback", ALL)
def test_nan_is_refused_where_it_arises(callback):
    method = tiny_method()
    with torch.no_grad():
        method.net.body[2].weight[0] = torch.nan
    refuse(r"expected finite values as \w+ of \w+, got \d+ of \d+ that are NaN or infinite", callback(), method)


@pytest.mark.parametrize("callback", [*ALL, MCD, MeanTeacher, DeepJDOT])
def test_batches_smaller_than_the_number_of_classes_are_fine(callback):
    if callback is DeepJDOT:
        pytest.importorskip("ot")
    data = AdaptationDataModule(digits("mnist", batch_size=5), digits("mnist_m", batch_size=2), batches_per_epoch=2)
    trainer = fit(tiny_method(), data, callback())
    assert all(value.isfinite() for value in trainer.callback_metrics.values())


@pytest.mark.parametrize("callback", [ClassDiscrepancy, DeepJDOT, MCD])
def test_losses_of_classes_are_for_classification(callback):
    if callback is DeepJDOT:
        pytest.importorskip("ot")
    data = AdaptationDataModule(settings.make_bdd100k(), settings.make_bdd100k())
    refuse(
        "source batch of classification, with one label for each sample, because this loss compares classes, got dict",
        callback(),
        settings.make_detection(data.num_classes),
        data,
        limit_train_batches=1,
    )


def test_detections_are_no_logits_for_a_teacher():
    data = AdaptationDataModule(settings.make_bdd100k(), settings.make_bdd100k())
    refuse(
        "expected forward of Detection to return logits of classes for MeanTeacher, got list",
        MeanTeacher(),
        settings.make_detection(data.num_classes),
        data,
        limit_train_batches=1,
    )


def test_a_name_that_a_method_reserves_is_refused():
    refuse("loss term with a name other than that of the method's own loss, got 'loss'", DAN(name="loss"))


@pytest.mark.parametrize("name", ["a.b", ""])
def test_names_that_no_part_may_have_are_refused(name):
    with pytest.raises(ValueError, match=r"expected name .* got"):
        DANN(name=name)


def test_other_data_of_the_method_are_refused():
    data = AdaptationDataModule(settings.make_camvid(), settings.make_camvid())
    refuse("expected data of ClassificationBatch for Classification, got AdaptationDataModule", DAN(), data=data)


def test_relabeled_data_are_other_labels():
    one, other = digits("mnist"), relabeled(digits("mnist"))
    for data in (one, other):
        data.prepare_data()
    pairs = list(zip(one.dataset("val"), other.dataset("val"), strict=True))
    assert all(first["label"] != second["label"] for first, second in pairs)
    assert all(torch.equal(first["image"], second["image"]) for first, second in pairs)


def test_layers_are_found_by_their_outputs():
    net = nn.Sequential(nn.Linear(3, 10), nn.Linear(10, 5), nn.Conv1d(4, 10, 1), nn.Linear(10, 7, bias=False))
    assert find_layer(net, None, None).name == "3"
    assert find_layer(net, None, 10).name == "2"
    assert find_layer(net, None, 5).name == "1"
    assert find_layer(net, "0", 5) == NamedLayer("0", net[0])
    assert (num_inputs(find_layer(net, "2", None)), num_outputs(find_layer(net, "2", None))) == (4, 10)
    net.add_module("adaptation_dann", nn.Linear(1, 5))
    assert find_layer(net, None, 5).name == "1"


def test_a_second_layer_has_the_same_options():
    conv = nn.Conv2d(4, 6, (3, 1), stride=2, padding=1, dilation=2, groups=2, bias=False, padding_mode="reflect")
    other = layer_like(NamedLayer("conv", conv))
    assert repr(other) == repr(conv)
    assert not torch.equal(other.weight, conv.weight)
    linear = layer_like(NamedLayer("fc", nn.Linear(3, 2, bias=False)))
    assert linear.bias is None
    assert linear.weight.shape == (2, 3)


def test_a_fit_without_training_leaves_nothing():
    method = tiny_method()
    make_trainer(None, callbacks=[DANN()], max_epochs=0).fit(method, two_digits())
    assert not method.loss_terms
    assert not any(name.startswith("adaptation") for name, _ in method.named_children())


@pytest.mark.parametrize("callback", [BNM, MCC, ClassDiscrepancy, DeepJDOT])
def test_maps_of_logits_are_refused_by_what_is_for_classification(callback):
    data = AdaptationDataModule(settings.make_camvid(), settings.make_camvid(), batches_per_epoch=1)
    method = settings.make_segmentation(data.num_classes)
    refuse("this callback is for classification|expected a source batch of classification", callback(), method, data)


@pytest.mark.parametrize("callback", [BNM, MCC, ClassDiscrepancy, DeepJDOT, MCD, CDAN])
def test_a_convolution_may_be_the_last_layer_of_a_classifier(callback):
    class Convolutional(nn.Module):
        num_classes = 10

        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1))
            self.head = nn.Conv2d(8, 10, 1)

        def forward(self, image):
            return self.head(self.body(image)).flatten(1)

    trainer = fit(Classification(Convolutional()), two_digits(batches_per_epoch=1), callback())
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


@pytest.mark.parametrize("callback", [DANN(), ADDA(), PseudoBoxes()])
def test_what_rises_with_the_training_needs_a_limit_of_it(callback):
    data = two_digits(batches_per_epoch=1)
    if isinstance(callback, PseudoBoxes):
        data = AdaptationDataModule(settings.make_bdd100k(), settings.make_bdd100k(), batches_per_epoch=1)
    method = settings.make_detection(data.num_classes) if isinstance(callback, PseudoBoxes) else tiny_method()
    message = f"expected a training with max_epochs or max_steps, because the strength of {type(callback).__name__} "
    refuse(message, callback, method, data, max_epochs=-1)


def test_a_constant_weight_needs_no_limit():
    class Stops(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = True

    method = tiny_method()
    method.configure_optimizers = lambda: torch.optim.SGD(method.parameters(), 0.01)
    fit(method, two_digits(batches_per_epoch=1), CORAL(ramp=False), Stops(), max_epochs=-1)
