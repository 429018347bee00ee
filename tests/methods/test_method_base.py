from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int64
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn
from torch.utils.data import DataLoader
from toys import PlainBranch

from lightning_edge.contracts import SegmentationBatch, serves_as
from lightning_edge.data import CityscapesVideoDataModule
from lightning_edge.methods import Method, PolynomialDecay, Segmentation
from lightning_edge.nn import DeepLab

CLASSES = 5


class ToyData(LightningDataModule):
    num_classes = CLASSES
    class_names = ("a", "b", "c", "d", "e")

    def train_dataloader(self):
        generator = torch.Generator().manual_seed(0)
        items = [
            {
                "image": torch.rand(3, 32, 32, generator=generator),
                "mask": torch.randint(0, CLASSES, (32, 32), generator=generator),
            }
            for _ in range(4)
        ]
        return DataLoader(items, batch_size=2)

    val_dataloader = test_dataloader = train_dataloader


def make_trainer(folder, **arguments):
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
    }
    return Trainer(**(defaults | arguments))


def test_method_cannot_be_built_without_a_loss():
    with pytest.raises(TypeError, match="abstract"):
        Method(torch.optim.AdamW, PolynomialDecay())


def test_terms_are_added_and_logged(tmp_path):
    method = Segmentation(DeepLab("resnet10t", CLASSES))
    method.loss_terms["constant"] = lambda batch: torch.tensor(7.0)
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.fit(method, ToyData())
    assert trainer.callback_metrics["train/constant"] == 7
    batch = next(iter(ToyData().train_dataloader()))
    method.eval().log = lambda *args, **kwargs: None
    torch.testing.assert_close(method.total_loss(batch), method.loss(batch) + 7)


def test_a_term_may_not_take_the_name_of_the_loss():
    method = Segmentation(PlainBranch(4))
    with pytest.raises(ValueError, match=r"expected a name other than that of the method's own loss .* got 'loss'"):
        method.loss_terms["loss"] = lambda batch: torch.tensor(7.0)
    with pytest.raises(ValueError, match="got 'loss'"):
        method.loss_terms.update(loss=lambda batch: torch.tensor(7.0))
    assert not method.loss_terms


def test_another_number_of_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a net with the data module's num_classes \(5\), got 6"):
        make_trainer(tmp_path).fit(Segmentation(DeepLab("resnet10t", 6)), ToyData())


def test_a_checkpoint_holds_no_objects_and_loads_with_a_net(tmp_path):
    method = Segmentation(DeepLab("resnet10t", CLASSES))
    trainer = make_trainer(tmp_path)
    trainer.fit(method, ToyData())
    trainer.save_checkpoint(tmp_path / "method.ckpt")
    content = torch.load(tmp_path / "method.ckpt", weights_only=True)
    assert content["hyper_parameters"] == {"schedule": None}
    restored = Segmentation.load_from_checkpoint(tmp_path / "method.ckpt", net=DeepLab("resnet10t", CLASSES))
    assert restored.class_names == ToyData.class_names
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
    trainer.fit(method, ToyData())
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
        ToyData,
        run=False,
        save_config_callback=None,
        trainer_defaults={"logger": False, "default_root_dir": str(tmp_path), "accelerator": "cpu"},
        args=["--model.net=toys.PlainBranch", "--model.net.channels=4", *schedule],
        auto_configure_optimizers=False,
    )
    cli.trainer.strategy.connect(cli.model)
    cli.trainer.save_checkpoint(tmp_path / "method.ckpt")
    restored = Segmentation.load_from_checkpoint(tmp_path / "method.ckpt")
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
    make_trainer(tmp_path).test(fresh, ToyData(), ckpt_path=tmp_path / "other.ckpt", weights_only=True, verbose=False)
    assert fresh.class_names == ToyData.class_names
    assert fresh.palette is None


def test_data_with_names_alone_take_the_colours_of_earlier_data_away(tmp_path):
    method = Segmentation(PlainBranch(4))
    method.class_names, method.palette = ("v", "w", "x", "y", "z"), ((1, 2, 3),) * CLASSES
    make_trainer(tmp_path).test(method, ToyData().test_dataloader(), verbose=False)  # tells nothing of its classes
    assert method.palette == ((1, 2, 3),) * CLASSES
    make_trainer(tmp_path).test(method, ToyData(), verbose=False)
    assert (method.class_names, method.palette) == (ToyData.class_names, None)


def test_a_trainer_without_an_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a trainer with max_steps, or with max_epochs"):
        make_trainer(tmp_path, max_epochs=-1).fit(Segmentation(DeepLab("resnet10t", CLASSES)), ToyData())


def test_learning_rate_warms_up_and_decays():
    schedule = PolynomialDecay(power=1.0, warmup=0.1)
    assert schedule(0.0) == 0
    assert schedule(0.05) == pytest.approx(0.5 * 0.95)
    assert schedule(0.5) == pytest.approx(0.5)
    assert schedule(1.0) == 0
    assert PolynomialDecay(power=0, warmup=0)(0.7) == 1


def test_schedule_spans_the_training(tmp_path):
    seen = []

    class Recorder(Segmentation):
        def on_train_batch_start(self, batch, batch_idx):
            seen.append(self.optimizers().param_groups[0]["lr"])

    method = Recorder(DeepLab("resnet10t", CLASSES), schedule=PolynomialDecay(power=1.0, warmup=0.0))
    make_trainer(tmp_path, max_epochs=2).fit(method, ToyData())
    rates = torch.tensor(seen) / 1e-3
    torch.testing.assert_close(rates, torch.tensor([0.875, 0.625, 0.375, 0.125]), atol=1e-6, rtol=0)


class TwoOptimizers(Segmentation):
    """One that steps with every batch, and one that steps with every other."""

    def __init__(self, net):
        super().__init__(net)
        self.automatic_optimization = False
        self.critic = nn.Linear(1, 1)
        self.shares = []

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), 0.1) for part in (self.net, self.critic)]

    def training_step(self, batch, batch_idx):
        self.shares.append(self.share_done)
        optimizer, critic_optimizer = self.optimizers()
        self.manual_backward(self.total_loss(batch) + self.critic(torch.ones(1, 1)).sum())
        optimizer.step()
        if batch_idx % 2 == 0:
            critic_optimizer.step()


@pytest.mark.parametrize("end", [{"max_epochs": 4}, {"max_epochs": -1, "max_steps": 12}])
def test_the_share_done_ends_with_the_training_of_several_optimizers(end, tmp_path):
    method = TwoOptimizers(PlainBranch(4))
    make_trainer(tmp_path, limit_val_batches=0, **end).fit(method, ToyData())
    steps = torch.arange(8.0) if "max_steps" not in end else torch.tensor([0, 2, 3, 5, 6, 8, 9, 11]) * 8 / 12
    torch.testing.assert_close(torch.tensor(method.shares), steps / 8)
    assert method.share_done == 1


def test_the_share_done_goes_on_where_several_optimizers_stopped(tmp_path):
    trainer = make_trainer(tmp_path, limit_val_batches=0, max_epochs=2)
    trainer.fit(TwoOptimizers(PlainBranch(4)), ToyData())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    method = TwoOptimizers(PlainBranch(4))
    trainer = make_trainer(tmp_path, limit_val_batches=0, max_epochs=4)
    trainer.fit(method, ToyData(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert method.shares == [0.5, 0.625, 0.75, 0.875]


def test_the_share_done_needs_no_optimizer_of_the_method(tmp_path):
    shares = []

    class Recorder(Segmentation):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

        def on_train_batch_start(self, batch, batch_idx):
            shares.append(self.share_done)

    make_trainer(tmp_path, limit_val_batches=0, max_epochs=2).fit(Recorder(PlainBranch(4)), ToyData())
    assert shares == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(("stage", "is_refused"), [("fit", True), ("test", True), ("predict", False)])
def test_data_of_other_batches_are_refused(stage, is_refused):
    method, data = Segmentation(PlainBranch(4)), CityscapesVideoDataModule()
    data.num_classes = method.num_classes
    method._trainer = type("Stub", (), {"datamodule": data})()
    expected = (
        "expected data of SegmentationBatch for Segmentation, got CityscapesVideoDataModule, which gives ClipBatch"
    )
    with pytest.raises(ValueError, match=expected) if is_refused else nullcontext():
        method.setup(stage)


def test_data_with_more_keys_are_taken():
    class WithDomain(SegmentationBatch):
        domain: Int64[Tensor, " batch"]

    assert serves_as(WithDomain, SegmentationBatch)
    assert not serves_as(SegmentationBatch, WithDomain)
