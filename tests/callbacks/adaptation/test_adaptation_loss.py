"""Terms in the training: steps, passes of the target, layers, names and searches of Lightning."""

from functools import partial

import pytest
import torch
from domain_layers import MNIST_M, ShiftedByDomain
from domain_pairs import TinyNet, digits, fit, tiny_method, two_digits
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from torch import nn

from callbacks.adaptation import CDAN, CMD, CORAL, DAN, DANN, MCD, MDD, AdaptationLoss, MeanTeacher
from callbacks.adaptation._rows import rows_of
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Classification
from lightning_edge.nn.conditioning import in_domain

WEIGHT = 0.7


class Passes(Callback):
    """Counts the passes through the net in each step."""

    def __init__(self):
        self.counts = []

    def setup(self, trainer, pl_module, stage):
        pl_module.net.body.register_forward_hook(lambda *_: self.counts.append(pl_module.trainer.global_step))


def test_several_callbacks_share_one_pass_of_the_target():
    passes = Passes()
    callbacks = [DAN(), DANN(), CORAL(), CDAN(), MCD(), CMD(layer="net.body.3")]
    fit(tiny_method(), two_digits(batches_per_epoch=3), passes, *callbacks)
    assert passes.counts == [0, 0, 1, 1, 2, 2]


def test_equal_names_are_refused():
    method = tiny_method()
    with pytest.raises(ValueError, match="loss terms with different names, got 'dan' twice: give one of the callbacks"):
        fit(method, two_digits(), DAN(), CORAL(name="dan"))
    assert not method.loss_terms
    assert all(not module._forward_hooks for module in method.modules())
    with pytest.raises(RuntimeError, match=r"more than one stateful callback of type `DANN`.*must be unique"):
        fit(method, two_digits(), DANN(), DANN())  # which Lightning refuses


def test_a_term_of_someone_else_stays():
    method = tiny_method()
    own = method.loss_terms["dan"] = lambda batch: torch.zeros(())
    with pytest.raises(ValueError, match="got 'dan' twice"):
        fit(method, two_digits(), DAN())
    assert method.loss_terms == {"dan": own}
    callback = DAN(name="other")
    fit(method, two_digits(), callback)
    assert method.loss_terms == {"dan": own}


def test_the_logged_value_is_weighted():
    method = tiny_method()
    trainer = fit(method, two_digits(batches_per_epoch=1), CORAL(weight=0.5, ramp=False))
    once = float(trainer.callback_metrics["train/coral"])
    trainer = fit(tiny_method(), two_digits(batches_per_epoch=1), CORAL(weight=1.0, ramp=False))
    assert float(trainer.callback_metrics["train/coral"]) == pytest.approx(2 * once)
    assert float(fit(tiny_method(), two_digits(batches_per_epoch=1), CORAL()).callback_metrics["train/coral"]) == 0


class Recorded(AdaptationLoss):
    """Keeps what it gets."""

    def __init__(self, layer=None, name="recorded"):
        super().__init__(1.0, layer, False, name)
        self.pairs = []

    def loss(self, pair):
        self.pairs.append(pair)
        return 0 * pair.target.outputs.sum()


def test_the_target_passes_in_its_domain():
    callback, method = Recorded(), tiny_method(optimizer=partial(torch.optim.SGD, lr=0.0))
    method.net.body.insert(0, ShiftedByDomain())
    fit(method, two_digits(batches_per_epoch=1), callback)
    (pair,) = callback.pairs
    with in_domain(method, MNIST_M):
        torch.testing.assert_close(pair.target_output, method(pair.target_input))
    assert not torch.allclose(pair.target_output, method(pair.target_input))


def test_a_pair_is_of_the_present_step():
    callback, method = Recorded(), tiny_method()
    data = two_digits(batches_per_epoch=3)
    fit(method, data, callback, max_epochs=2, limit_val_batches=1)
    assert [pair.progress for pair in callback.pairs] == pytest.approx([step / 6 for step in range(6)])
    for pair in callback.pairs:
        assert len(pair.source.features) == len(pair.target.features) == 4
        assert set(pair.batch) >= {"image", "label"}
        assert torch.equal(pair.target_output, pair.target.outputs)
        assert pair.source.outputs.shape == (4, 10)
    assert callback._domains is None
    features = [pair.source.features for pair in callback.pairs]
    assert all(not torch.equal(features[0], other) for other in features[1:])


def test_a_layer_that_is_called_by_keyword():
    class ByKeyword(TinyNet):
        def forward(self, image):
            return self.head(input=self.body(image))

    callback = Recorded()
    fit(Classification(ByKeyword()), two_digits(batches_per_epoch=1), callback)
    assert callback.pairs[0].source.features.shape == (4, 8)


def test_a_layer_in_the_middle():
    callback = Recorded("net.body.2")
    fit(tiny_method(), two_digits(batches_per_epoch=1), callback)
    assert callback.pairs[0].target.features.shape == (4, 48)
    assert callback.pairs[0].target.outputs.shape == (4, 8)


def test_the_last_run_of_a_layer_counts():
    class Twice(TinyNet):
        def forward(self, image):
            super().forward(0 * image)
            return super().forward(image)

    once, twice = Recorded(), Recorded()
    for net, callback in ((TinyNet(), once), (Twice(), twice)):
        net.load_state_dict(tiny_method().net.state_dict())
        fit(Classification(net), two_digits(batches_per_epoch=1), callback)
    for side in ("source", "target"):
        torch.testing.assert_close(getattr(once.pairs[0], side), getattr(twice.pairs[0], side))


def test_a_term_that_runs_the_net_itself_disturbs_nothing():
    class Disturbs(Recorded):
        def loss(self, pair):
            self.classifier(torch.zeros_like(pair.source.features))
            return super().loss(pair)

    first, second = Disturbs(name="first"), Recorded(name="second")
    fit(tiny_method(), two_digits(batches_per_epoch=2), first, second)
    for one, other in zip(first.pairs, second.pairs, strict=True):
        assert one.source.features is other.source.features
        assert one.target.features is other.target.features


class ManySteps(torch.optim.SGD):
    """Computes the loss twice in a step, as a line search does."""

    def step(self, closure):
        closure()
        return super().step(closure)


def test_a_loss_that_is_computed_twice_in_a_step():
    callback, method = DAN(WEIGHT), tiny_method(optimizer=lambda groups: ManySteps(groups, 0.1))
    recorded = Recorded()
    fit(method, two_digits(batches_per_epoch=2), callback, recorded)
    assert len(recorded.pairs) == 4
    first, second = recorded.pairs[:2]
    assert torch.equal(first.batch["image"], second.batch["image"])
    assert first.source.features is not second.source.features
    assert first.target.features is not second.target.features


def test_a_larger_batch_size_is_found_with_the_callback(tmp_path):
    data, callback = two_digits(batch_size=2), DANN()
    fit(tiny_method(), data, BatchSizeFinder(max_trials=2, steps_per_trial=2), callback, folder=tmp_path)
    assert (data.source.batch_size, data.target.batch_size) == (4, 4)


def test_a_learning_rate_is_found_with_the_callback(tmp_path):
    method = Tunable()
    fit(method, two_digits(), DANN(), LearningRateFinder(num_training_steps=4, update_attr=False), folder=tmp_path)


class Tunable(Classification):
    def __init__(self):
        super().__init__(TinyNet())
        self.lr = 1e-3


def test_sources_of_another_batch_size():
    data = AdaptationDataModule(digits("mnist", batch_size=6), digits("mnist_m", batch_size=3))
    for callback in (DAN(), CORAL(), DANN(), MDD()):
        fit(tiny_method(), data, callback, limit_train_batches=2)


def test_nothing_is_recorded_in_validation():
    callback = Recorded()
    trainer = fit(tiny_method(), two_digits(batches_per_epoch=2), callback, limit_val_batches=1)
    assert "val_target/accuracy" in trainer.callback_metrics
    assert len(callback.pairs) == 2


def test_the_layers_have_no_hooks_after_the_fit():
    method = tiny_method()
    fit(method, two_digits(batches_per_epoch=2), DANN(), DAN(layer="net.body.3"))
    assert all(not module._forward_hooks for module in method.modules())
    assert isinstance(method.net.head, nn.Linear)


def test_features_of_a_linear_layer_on_tokens_are_the_last_dimension():
    class Tokens(TinyNet):
        def __init__(self):
            super().__init__()
            self.embed = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.Flatten(2))
            self.mix = nn.Linear(6, 8)

        def forward(self, image):
            return self.head(self.mix(self.embed(image).transpose(1, 2)).mean(1))

    method, callback = Classification(Tokens()), Recorded(layer="net.mix")
    fit(method, two_digits(batches_per_epoch=1), callback)
    (pair,) = callback.pairs
    assert pair.source.features.shape[:2] == (4, 6)
    assert pair.source.outputs.shape[:2] == (4, 8)
    trainer = fit(method, two_digits(batches_per_epoch=1), DANN(layer="net.mix"))
    assert torch.isfinite(trainer.callback_metrics["train/dann"])


@pytest.mark.parametrize("callback", [DANN, CDAN, MCD, MeanTeacher])
def test_a_module_that_torch_compiles_is_adapted_again_and_again(callback):
    method = tiny_method()
    fit(method, two_digits(batches_per_epoch=1))
    compiled = torch.compile(method, backend="eager")
    for _ in range(2):
        trainer = fit(compiled, two_digits(batches_per_epoch=2), callback())
        assert torch.isfinite(trainer.callback_metrics[f"train/{callback().name}"])


@pytest.mark.parametrize("callback", [DANN, CDAN, MCD, MDD, DAN, CORAL])
def test_all_weights_may_be_bfloat16(callback):
    trainer = fit(tiny_method(), two_digits(batches_per_epoch=2), callback(), precision="bf16-true")
    assert torch.isfinite(trainer.callback_metrics[f"train/{callback().name}"])


def test_rows_leave_out_unknown_classes_and_pixels_only():
    features, logits = torch.arange(6.0).reshape(3, 2), torch.zeros(3, 300)
    rows = rows_of(features, logits, {"label": torch.tensor([255, -1, 4])})
    assert rows.labels.tolist() == [255, 4]
    assert rows.features.tolist() == [[0, 1], [4, 5]]
    maps = torch.zeros(1, 2, 1, 3)
    assert len(rows_of(maps, maps, {"mask": torch.tensor([[[0, 255, 1]]])}).labels) == 2
