"""Adaptation of LightningModules that are not of this library."""

import pickle
from typing import TypedDict

import pytest
import torch
import torch.nn.functional as F
from domain_pairs import TinyNet, fit, two_digits, weights_of
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel, ManualOptimBoringModel
from torch import Tensor
from torch.optim import SGD, lr_scheduler
from torch.utils.data import DataLoader

from callbacks.adaptation import CDAN, CORAL, DAN, DANN, MCD
from lightning_edge.ops.adaptation.coral import coral

SCHEDULES = {
    "none": None,
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 6),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=8),
    "cyclic": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, step_size_up=2),
    "restarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2),
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 2),
    "sequence": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2), lr_scheduler.CosineAnnealingLR(optimizer, 6)],
        [2],
    ),
    "chain": lambda optimizer: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2), lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)]
    ),
}


class Foreign(LightningModule):
    """Knows nothing of adaptation, and its optimizer has the parameters of its own net only."""

    def __init__(self, schedule="none", returns=lambda loss, batch_idx: loss):
        super().__init__()
        torch.manual_seed(0)
        self.model, self.schedule, self.returns = TinyNet(), SCHEDULES[schedule], returns
        self.results = []

    def forward(self, image):
        return self.model(image)

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch["image"]), batch["label"])
        self.log("train_loss", loss)
        return self.returns(loss, batch_idx)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.results.append(outputs)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", F.cross_entropy(self(batch["image"]), batch["label"]))

    def configure_optimizers(self):
        optimizer = SGD(self.model.parameters(), 0.1, momentum=0.9)
        if self.schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.schedule(optimizer), "interval": "step"},
        }


class Rates(Callback):
    """Keeps the learning rates of each step."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append([group["lr"] for group in trainer.optimizers[0].param_groups])


class Losses(Callback):
    """Keeps the discriminator's loss of each step."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(trainer.callback_metrics["train/dann"]))


def nets_of(callback):
    return {name: value.clone() for name, value in callback.nets.state_dict().items()}


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def dann():
    torch.manual_seed(3)
    return DANN(hidden_size=8)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_discriminator_learns_at_the_rate_of_the_net_and_resumes(schedule, tmp_path):
    plain, rates = Rates(), Rates()
    fit(Foreign(schedule), two_digits(batches_per_epoch=3), plain, max_epochs=2)
    keep = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{step}", every_n_train_steps=2)
    callback, module = dann(), Foreign(schedule)
    options = {"max_epochs": 2, "enable_checkpointing": True}
    fit(module, two_digits(batches_per_epoch=3), callback, rates, keep, **options)
    assert rates.values == [[rate, rate] for (rate,) in plain.values]
    start = torch.load(tmp_path / "step=2.ckpt", weights_only=True)["callbacks"][callback.state_key]["nets"]
    assert all(not torch.equal(value, start[name]) for name, value in nets_of(callback).items() if "weight" in name)

    resumed, again, rest = dann(), Foreign(schedule), Rates()
    fit(again, two_digits(batches_per_epoch=3), resumed, rest, ckpt_path=tmp_path / "step=2.ckpt", max_epochs=2)
    assert_equal(weights_of(again), weights_of(module))
    assert_equal(nets_of(resumed), nets_of(callback))
    assert rest.values == rates.values[2:]


def test_a_plateau_lowers_both_rates():
    class Plateau(Foreign):
        def configure_optimizers(self):
            optimizer = SGD(self.model.parameters(), 0.1)
            schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=10, min_lr=[0.02])
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "train_loss"}}

    rates = Rates()
    fit(Plateau(), two_digits(batches_per_epoch=1), DANN(), rates, max_epochs=4)
    assert rates.values[0] == [0.1, 0.1]
    assert rates.values[-1] == [0.02, 0.02]


def test_the_gradient_is_that_of_the_explicit_sum():
    class Witness(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.batch, self.target = batch, trainer.datamodule.target_batch["image"]
            self.weights = weights_of(pl_module.model)

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            self.gradients = {name: value.grad.clone() for name, value in pl_module.model.named_parameters()}

    witness = Witness()
    fit(Foreign(), two_digits(batches_per_epoch=2), CORAL(weight=50.0, ramp=False), witness)
    net = TinyNet()
    net.load_state_dict(witness.weights)
    features = net.body(witness.batch["image"])
    loss = F.cross_entropy(net.head(features), witness.batch["label"])
    (loss + 50 * coral(features, net.body(witness.target))).backward()
    expected = {name: value.grad for name, value in net.named_parameters()}
    torch.testing.assert_close(witness.gradients, expected)


def test_the_weight_rises_with_the_steps_of_the_trainer():
    values = []
    callback = DAN(name="rising")
    callback.loss = lambda pair: values.append(pair.progress) or pair.target.outputs.sum()
    fit(Foreign(), two_digits(batches_per_epoch=4), callback, max_epochs=2)
    assert values == [step / 8 for step in range(8)]


def test_progress_of_someone_else_is_not_a_share():
    class Percent(Foreign):
        progress = 50.0  # percent

    fit(Percent(), two_digits(batches_per_epoch=2), DAN())


def test_a_dict_keeps_its_other_values():
    module = Foreign(returns=lambda loss, batch_idx: {"loss": loss, "extra": torch.tensor(batch_idx)})
    plain = Foreign()
    for one in (module, plain):
        fit(one, two_digits(batches_per_epoch=3), DAN())
    assert [int(outputs["extra"]) for outputs in module.results] == [0, 1, 2]
    assert_equal(weights_of(module), weights_of(plain))
    assert [float(one["loss"]) for one in module.results] == [float(one["loss"]) for one in plain.results]


def test_a_skipped_batch_has_no_term():
    module = Foreign(returns=lambda loss, batch_idx: None if batch_idx == 1 else loss)
    callback, terms = DANN(), []
    inner = callback.loss
    callback.loss = lambda pair: terms.append(pair.progress) or inner(pair)
    fit(module, two_digits(batches_per_epoch=3), callback)
    assert len(terms) == 2


def test_the_term_is_logged():
    trainer = fit(Foreign(), two_digits(batches_per_epoch=3), CORAL(), DANN())
    assert {"train/coral", "train/dann", "train_loss"} <= trainer.callback_metrics.keys()


@pytest.mark.parametrize("own", [False, True])
def test_the_step_is_the_former_one_after_the_fit(own):
    module = Foreign()
    if own:  # as a compiled module has it
        step = module.training_step
        module.training_step = lambda batch, batch_idx: step(batch, batch_idx)
    before = vars(module).get("training_step")
    fit(module, two_digits(batches_per_epoch=2), CORAL(), DANN(), MCD())
    assert vars(module).get("training_step") is before
    assert set(dict(module.named_children())) == {"model"}
    module.returns = lambda loss, batch_idx: pytest.fail("expected an error in the step")
    with pytest.raises(BaseException, match="expected an error in the step"):
        fit(module, two_digits(batches_per_epoch=2), CORAL(), DANN())
    assert vars(module).get("training_step") is before
    assert set(dict(module.named_children())) == {"model"}


@pytest.mark.parametrize("callback", [CDAN, MCD])
def test_the_last_layer_is_found_by_the_classes_of_the_data(callback):
    module = Foreign()
    module.auxiliary = torch.nn.Linear(3, 4)  # is registered later, and has no classes
    fit(module, two_digits(batches_per_epoch=2), callback())


def test_manual_optimization_is_refused():
    with pytest.raises(
        ValueError, match="automatic optimization or a module with loss_terms, got ManualOptimBoringModel"
    ):
        fit(ManualOptimBoringModel(), Vectors(), CORAL())


class VectorBatch(TypedDict):
    vector: Tensor


class Vectors(LightningDataModule):
    """A data module of someone else with plain tensors as batches, and with target data."""

    batch_type = VectorBatch
    target_batch = None

    def train_dataloader(self):
        generator = torch.Generator().manual_seed(0)
        return DataLoader([torch.randn(2, 32, generator=generator) for _ in range(24)], batch_size=6)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        self.target_batch = {"vector": 3 * batch[:, 1] + 1}
        return batch[:, 0]


def test_a_module_of_lightning_itself():
    """BoringModel, because no other library that the tests install has a LightningModule that can be imported."""

    def module():
        torch.manual_seed(0)
        return BoringModel()

    plain, adapted = module(), module()
    fit(plain, Vectors(), max_epochs=3)
    callback, losses = DANN(hidden_size=8), Losses()
    trainer = fit(adapted, Vectors(), callback, CORAL(ramp=False), losses, max_epochs=3)
    assert {"train/dann", "train/coral"} <= trainer.callback_metrics.keys()
    assert_equal(weights_of(adapted), weights_of(plain))  # the only layer gets its inputs from the data
    assert losses.values[-1] < losses.values[0], "the discriminator learns"


def test_a_net_of_someone_else_before_the_last_layer_learns():
    class Deeper(BoringModel):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Sequential(torch.nn.Linear(32, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))

    plain, adapted = Deeper(), Deeper()
    fit(plain, Vectors())
    fit(adapted, Vectors(), DANN(hidden_size=8, ramp=False))
    assert not torch.equal(plain.layer[0].weight, adapted.layer[0].weight)


def test_a_callback_can_be_pickled_after_a_fit():
    callback = DANN(hidden_size=8)
    fit(BoringModel(), Vectors(), callback)
    other = pickle.loads(pickle.dumps(callback))
    assert_equal(nets_of(other), nets_of(callback))
    fit(BoringModel(), Vectors(), other)
