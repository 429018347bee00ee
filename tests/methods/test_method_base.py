from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int64
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn
from toys import NUM_CLASSES as CLASSES
from toys import PlainBranch, ToyImages, make_trainer

from lightning_edge.contracts import SegmentationBatch, serves_as
from lightning_edge.data import CityscapesVideoDataModule
from lightning_edge.methods import Method, PolynomialDecay, Segmentation
from lightning_edge.nn import DeepLab


def test_method_cannot_be_built_without_a_loss():
    with pytest.raises(TypeError, match="abstract"):
        Method(torch.optim.AdamW, PolynomialDecay())


def test_terms_are_added_and_logged(tmp_path):
    method = Segmentation(DeepLab("resnet10t", CLASSES))
    method.loss_terms["constant"] = lambda batch: torch.tensor(7.0)
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.fit(method, ToyImages())
    assert trainer.callback_metrics["train/constant"] == 7
    batch = next(iter(ToyImages().train_dataloader()))
    method.eval().log = lambda *args, **kwargs: None
    torch.testing.assert_close(method.total_loss(batch), method.loss(batch) + 7)


def test_the_weight_of_the_own_loss_changes_the_total_but_not_what_is_logged(tmp_path):
    method = Segmentation(PlainBranch(4))
    before = [parameter.detach().clone() for parameter in method.parameters()]
    method._optimizer = partial(torch.optim.SGD, lr=0.1)
    method.loss_terms["constant"] = lambda batch: torch.tensor(7.0)
    method.loss_weight = 0.0
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.fit(method, ToyImages())
    assert all(torch.equal(*pair) for pair in zip(before, method.parameters(), strict=True))
    assert trainer.callback_metrics["train/loss"] > 1
    method.log = lambda *args, **kwargs: None
    batch = next(iter(ToyImages().train_dataloader()))
    method.loss_weight = 0.25
    torch.testing.assert_close(method.total_loss(batch), method.loss(batch) / 4 + 7)


def test_a_term_may_not_take_the_name_of_the_loss():
    method = Segmentation(PlainBranch(4))
    with pytest.raises(ValueError, match=r"a name other than that of the method's own loss, got 'loss'"):
        method.loss_terms["loss"] = lambda batch: torch.tensor(7.0)
    with pytest.raises(ValueError, match="got 'loss'"):
        method.loss_terms.update(loss=lambda batch: torch.tensor(7.0))
    assert not method.loss_terms


def test_another_number_of_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a net with the data module's num_classes \(5\), got 6"):
        make_trainer(tmp_path).fit(Segmentation(DeepLab("resnet10t", 6)), ToyImages())


def test_a_checkpoint_holds_no_objects_and_loads_with_a_net(tmp_path):
    method = Segmentation(DeepLab("resnet10t", CLASSES))
    trainer = make_trainer(tmp_path)
    trainer.fit(method, ToyImages())
    trainer.save_checkpoint(tmp_path / "method.ckpt")
    content = torch.load(tmp_path / "method.ckpt", weights_only=True)
    assert content["hyper_parameters"] == {"schedule": None}
    restored = Segmentation.load_from_checkpoint(tmp_path / "method.ckpt", net=DeepLab("resnet10t", CLASSES))
    assert restored.class_names == ToyImages.class_names
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(restored.eval()(image), method.eval()(image), rtol=0, atol=0)


def test_subclass_arguments_of_plain_values_are_saved(tmp_path):
    class Weighted(Segmentation):
        def __init__(self, net: nn.Module, factor: float) -> None:
            super().__init__(net)
            self.factor = factor

    assert dict(Weighted(DeepLab("resnet10t", CLASSES), factor=2.0).hparams) == {"factor": 2.0}


def test_a_subclass_that_hands_on_its_arguments_saves_the_plain_ones(tmp_path):
    class Weighted(Segmentation):
        def __init__(self, factor: float, **others) -> None:
            super().__init__(**others)
            self.factor = factor

    method = Weighted(2.0, net=DeepLab("resnet10t", CLASSES))
    assert dict(method.hparams) == {"factor": 2.0}
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.fit(method, ToyImages())
    trainer.save_checkpoint(tmp_path / "method.ckpt")
    restored = Weighted.load_from_checkpoint(tmp_path / "method.ckpt", net=DeepLab("resnet10t", CLASSES))
    assert restored.factor == 2.0


class HandsOn(Segmentation):
    def __init__(self, *args, factor=1.0, **others):
        super().__init__(*args, **others)


class WithNets(Segmentation):
    def __init__(self, net, others: list, factor=1.0):
        super().__init__(net)


class WithNetsByName(Segmentation):
    def __init__(self, net, others: dict, factor=1.0):
        super().__init__(net)


class WithPath(Segmentation):
    def __init__(self, net, others: Path, factor=1.0):
        super().__init__(net)


class WithArray(Segmentation):
    def __init__(self, net, others: np.ndarray, factor=1.0):
        super().__init__(net)


class SavesAsLightningDoes(Segmentation):
    def __init__(self, net, others: nn.Module, factor=1.0):
        super().__init__(net)
        self.save_hyperparameters()


@pytest.mark.parametrize(
    ("subclass", "more"),
    [
        (HandsOn, {}),
        (WithNets, {"others": [nn.Linear(1, 1)]}),
        (WithNetsByName, {"others": {"teacher": nn.Linear(1, 1)}}),
        (WithPath, {"others": Path("teacher.pth")}),
        (WithArray, {"others": np.ones(CLASSES)}),
        (SavesAsLightningDoes, {"others": nn.Linear(1, 1)}),
    ],
)
def test_a_checkpoint_of_any_subclass_holds_plain_values_and_loads(subclass, more, tmp_path):
    method = subclass(net=PlainBranch(4), factor=2.0, **more)
    trainer = make_trainer(tmp_path)
    trainer.strategy.connect(method)
    trainer.save_checkpoint(tmp_path / "method.ckpt")
    assert torch.load(tmp_path / "method.ckpt", weights_only=True)["hyper_parameters"] == {"factor": 2.0}
    restored = subclass.load_from_checkpoint(tmp_path / "method.ckpt", net=PlainBranch(4), **more)
    assert restored.hparams["factor"] == 2.0


@pytest.mark.parametrize(
    ("schedule", "power"),
    [([], 0.9), (["--model.schedule=lightning_edge.methods.PolynomialDecay", "--model.schedule.power=0.5"], 0.5)],
)
def test_a_checkpoint_of_the_command_line_loads_alone(schedule, power, tmp_path):
    cli = LightningCLI(
        Segmentation,
        ToyImages,
        run=False,
        save_config_callback=None,
        trainer_defaults={"logger": False, "default_root_dir": str(tmp_path), "accelerator": "cpu"},
        args=["--model.net=toys.PlainBranch", "--model.net.channels=4", *schedule],
        auto_configure_optimizers=False,
    )
    cli.trainer.strategy.connect(cli.model)
    cli.trainer.save_checkpoint(tmp_path / "method.ckpt")
    restored = Segmentation.load_from_checkpoint(tmp_path / "method.ckpt", trusted_modules=["toys"])
    assert torch.equal(restored.net.head.weight, cli.model.net.head.weight)
    assert restored._schedule.power == power


def test_containers_of_plain_values_are_saved():
    class Weighted(Segmentation):
        def __init__(self, net: nn.Module, **settings) -> None:
            super().__init__(net)

    plain = {"none": None, "shares": [0.5, True], "layers": {"head": ("a", 1)}}
    mixed = {"numbers": [np.float64(1)], "layers_of": {"head": (nn.Identity(),)}, "paths": [Path("a")]}
    assert dict(Weighted(PlainBranch(4), **plain, **mixed).hparams) == plain


def test_names_of_the_data_beat_those_of_a_checkpoint(tmp_path):
    method = Segmentation(DeepLab("resnet10t", CLASSES))
    method.class_names, method.palette = ("v", "w", "x", "y", "z"), ((1, 2, 3),) * CLASSES
    trainer = make_trainer(tmp_path)
    trainer.strategy.connect(method)
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    fresh = Segmentation(DeepLab("resnet10t", CLASSES))
    make_trainer(tmp_path).test(fresh, ToyImages(), ckpt_path=tmp_path / "other.ckpt", weights_only=True, verbose=False)
    assert fresh.class_names == ToyImages.class_names
    assert fresh.palette is None


def test_data_with_names_alone_take_the_colors_of_earlier_data_away(tmp_path):
    method = Segmentation(PlainBranch(4))
    method.class_names, method.palette = ("v", "w", "x", "y", "z"), ((1, 2, 3),) * CLASSES
    make_trainer(tmp_path).test(method, ToyImages().test_dataloader(), verbose=False)  # tells nothing of its classes
    assert method.palette == ((1, 2, 3),) * CLASSES
    make_trainer(tmp_path).test(method, ToyImages(), verbose=False)
    assert (method.class_names, method.palette) == (ToyImages.class_names, None)


def test_a_trainer_without_an_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a trainer with max_steps, or with max_epochs"):
        make_trainer(tmp_path, max_epochs=-1).fit(Segmentation(DeepLab("resnet10t", CLASSES)), ToyImages())


@pytest.mark.parametrize(("stage", "is_refused"), [("fit", True), ("test", True), ("predict", False)])
def test_data_of_other_batches_are_refused(stage, is_refused):
    method, data = Segmentation(PlainBranch(4)), CityscapesVideoDataModule()
    data.num_classes = method.num_classes
    method._trainer = type("Stub", (), {"datamodule": data, "callbacks": []})()
    expected = (
        "expected data of SegmentationBatch for Segmentation, got CityscapesVideoDataModule, which yields ClipBatch"
    )
    with pytest.raises(ValueError, match=expected) if is_refused else nullcontext():
        method.setup(stage)


def test_data_with_more_keys_are_taken():
    class WithDomain(SegmentationBatch):
        domain: Int64[Tensor, " batch"]

    assert serves_as(WithDomain, SegmentationBatch)
    assert not serves_as(SegmentationBatch, WithDomain)
