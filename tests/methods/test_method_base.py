import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

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


def test_another_number_of_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a net with the data module's num_classes \(5\), got 6"):
        make_trainer(tmp_path).fit(Segmentation(DeepLab("resnet10t", 6)), ToyData())


def test_a_checkpoint_holds_no_objects_and_loads_with_a_net(tmp_path):
    method = Segmentation(DeepLab("resnet10t", CLASSES))
    trainer = make_trainer(tmp_path)
    trainer.fit(method, ToyData())
    trainer.save_checkpoint(tmp_path / "method.ckpt")
    content = torch.load(tmp_path / "method.ckpt", weights_only=True)
    assert content.get("hyper_parameters", {}) == {}
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


def test_names_of_the_data_beat_those_of_a_checkpoint(tmp_path):
    method = Segmentation(DeepLab("resnet10t", CLASSES))
    method.class_names = ("v", "w", "x", "y", "z")
    trainer = make_trainer(tmp_path)
    trainer.strategy.connect(method)
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    fresh = Segmentation(DeepLab("resnet10t", CLASSES))
    make_trainer(tmp_path).test(fresh, ToyData(), ckpt_path=tmp_path / "other.ckpt", weights_only=True, verbose=False)
    assert fresh.class_names == ToyData.class_names


def test_a_trainer_without_an_end_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a trainer with max_epochs or max_steps"):
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
