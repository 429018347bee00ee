"""Two stages: training on the source, then adaptation of the features to the target."""

import copy

import pytest
import torch
from adaptation_runs import Foreign, fit, fit_terms, gradients_of, make_classification, make_digits, same, weights
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks.adaptation import ADDA


def test_the_first_stage_is_training_on_the_source_alone(tmp_path):
    alone, beside = make_classification(), make_classification()
    fit(alone, make_digits(), tmp_path)
    fit(beside, make_digits(), tmp_path, ADDA(source_stage_fraction=1.0))
    assert same(alone.state_dict(), beside.state_dict())


def test_the_term_compares_the_source_net_with_the_module(tmp_path):
    method = make_classification()
    source_net = copy.deepcopy(method)
    first, second = fit_terms(ADDA(weight=0.3, source_stage_fraction=0), method, make_digits(), tmp_path, 2)
    for term in (first, second):
        is_source, is_target = (
            term.nets["discriminator"](features.mean((2, 3)) if features.ndim == 4 else features).sigmoid()
            for features in (features_of(source_net, term.pair.batch["image"]), term.pair.target.features)
        )
        discriminator = -(is_source.log().mean() + (1 - is_target).log().mean()) / 2
        torch.testing.assert_close(term.value, discriminator - 0.3 * is_target.log().mean())
    # the module's own features differ from the second step on
    assert torch.equal(first.pair.source.features, features_of(source_net, first.pair.batch["image"]))
    assert not torch.allclose(second.pair.source.features, features_of(source_net, second.pair.batch["image"]))


def features_of(method, images):
    """What the last layer receives in a training step."""
    seen = []
    handle = method.net.net.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        method.train()(images)
    handle.remove()
    return seen[0]


def test_the_last_layer_and_the_loss_on_the_source_rest_in_the_second_stage(tmp_path):
    method = make_classification()
    before = weights(method)
    trainer = fit(method, make_digits(), tmp_path, ADDA(source_stage_fraction=0))
    after = weights(method)
    is_kept = {name for name in before if torch.equal(before[name], after[name])}
    assert is_kept == {"net.net.fc.weight", "net.net.fc.bias"}
    assert method.loss_weight == 1
    assert trainer.callback_metrics["train/loss"] > 1  # logged without its factor of 0
    # with no deception either, nothing has a gradient other than 0, and without weight decay nothing moves
    method = make_classification()
    method._optimizer = torch.optim.Adam
    fit(method, make_digits(), tmp_path, ADDA(weight=0, source_stage_fraction=0))
    assert same(before, weights(method))


def test_gradients_reach_the_discriminator_and_the_features(tmp_path):
    method = make_classification()
    (term,) = fit_terms(ADDA(source_stage_fraction=0), method, make_digits(), tmp_path)
    names = {name for name, _ in method.named_parameters()}
    owned = {f"adaptation_adda.discriminator.{name}" for name, _ in term.nets["discriminator"].named_parameters()}
    assert owned < term.reached
    assert "net.net.conv1.weight" in term.reached
    assert not term.reached & {"net.net.fc.weight", "net.net.fc.bias"}
    assert term.reached <= owned | names


def test_the_discriminator_learns_from_its_own_loss_and_not_from_its_deception(tmp_path):
    method = make_classification()
    source_net = copy.deepcopy(method)
    (term,) = fit_terms(ADDA(weight=0.3, source_stage_fraction=0), method, make_digits(), tmp_path)
    discriminator = term.nets["discriminator"]
    is_source = discriminator(features_of(source_net, term.pair.batch["image"])).sigmoid()
    is_target = discriminator(term.pair.target.features.detach()).sigmoid()
    expected = gradients_of(-(is_source.log().mean() + (1 - is_target).log().mean()) / 2, discriminator)
    torch.testing.assert_close(term.owned_gradients("discriminator"), expected, rtol=1e-4, atol=1e-6)


class Stages(Callback):
    """Keeps the weights of a module before each step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.weights.append(pl_module.features[1].weight.detach().clone())


def test_the_source_net_of_a_further_fit_is_that_after_its_own_first_stage(tmp_path):
    method, callback = Foreign(), ADDA(source_stage_fraction=0.5)
    for _ in range(2):
        stages = Stages()
        fit(method, make_digits(), tmp_path, callback, stages)  # of four steps
        assert torch.equal(callback.nets["source"].weight_0, stages.weights[2])
    assert not torch.equal(stages.weights[0], stages.weights[2])


class Discriminators(Callback):
    def __init__(self, callback):
        self.callback = callback
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(weights(self.callback.nets["discriminator"]))


def test_the_discriminator_rests_in_the_first_stage(tmp_path):
    callback = ADDA(source_stage_fraction=0.5)
    watch = Discriminators(callback)
    fit(make_classification(), make_digits(), tmp_path, callback, watch)  # four steps
    first, second, third, fourth = watch.values
    assert same(first, second)
    assert not same(second, third)
    assert not same(third, fourth)


@pytest.mark.parametrize("step", [1, 3])
def test_a_run_resumes_in_either_stage(step, tmp_path):
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    whole, resumed = make_classification(), make_classification(seed=1)
    callback, other = ADDA(), ADDA()
    fit(whole, make_digits(), tmp_path, callback, keep, enable_checkpointing=True)
    fit(resumed, make_digits(), tmp_path, other, ckpt_path=str(tmp_path / f"step={step}.ckpt"))
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(callback.nets.state_dict(), other.nets.state_dict())


def test_a_module_of_another_library_has_two_stages_too(tmp_path):
    torch.manual_seed(0)
    alone = Foreign()
    beside, frozen = copy.deepcopy(alone), copy.deepcopy(alone)
    before = weights(alone)
    fit(alone, make_digits(), tmp_path)
    fit(beside, make_digits(), tmp_path, ADDA(source_stage_fraction=1.0))
    assert same(weights(alone), weights(beside))
    fit(frozen, make_digits(), tmp_path, ADDA(weight=0, source_stage_fraction=0))
    assert same(before, weights(frozen))
    assert "training_step" not in vars(frozen)


def test_the_loss_has_its_weight_again_after_an_error(tmp_path):
    class Fails(Callback):
        def on_train_batch_end(self, *_):
            raise RuntimeError

    method = make_classification()
    with pytest.raises(RuntimeError):
        fit(method, make_digits(), tmp_path, ADDA(source_stage_fraction=0), Fails())
    assert method.loss_weight == 1
    assert not any(name.startswith("adaptation") for name in method.state_dict())


def test_the_learning_rate_is_scaled_in_the_steps_of_the_second_stage_only(tmp_path):
    moves = []
    for scale in (1.0, 0.25):
        torch.manual_seed(0)
        fresh = Foreign()
        before = weights(fresh)
        trainer = fit(fresh, make_digits(1), tmp_path, ADDA(source_stage_fraction=0, lr_scale=scale))
        moves.append({name: value - before[name] for name, value in weights(fresh).items()})
        assert trainer.optimizers[0].param_groups[0]["lr"] == 0.1
        assert not trainer.optimizers[0]._optimizer_step_pre_hooks
    for name, move in moves[0].items():
        torch.testing.assert_close(0.25 * move, moves[1][name], atol=1e-7, rtol=1e-3)
    assert moves[0]["features.1.weight"].abs().max() > 1e-4


def test_bad_fractions_are_named():
    with pytest.raises(ValueError, match=r"expected source_stage_fraction within \[0, 1\], got 1\.5"):
        ADDA(source_stage_fraction=1.5)
    with pytest.raises(ValueError, match="expected lr_scale of at least 0, got -1"):
        ADDA(lr_scale=-1)


def test_an_error_within_a_step_restores_the_learning_rate(tmp_path):
    class Fails(torch.optim.SGD):
        def step(self, closure=None):
            closure()
            raise RuntimeError("in the step")

    class Failing(Foreign):
        def configure_optimizers(self):
            self.own = Fails(self.parameters(), 0.1)
            return self.own

    module = Failing()
    with pytest.raises(RuntimeError, match="in the step"):
        fit(module, make_digits(1), tmp_path, ADDA(source_stage_fraction=0, lr_scale=0.25))
    assert module.own.param_groups[0]["lr"] == 0.1


def test_a_second_fit_has_a_source_net_of_its_own(tmp_path):
    adda, method = ADDA(source_stage_fraction=0, weight=0), make_classification()
    fit(method, make_digits(1), tmp_path, adda)
    with torch.no_grad():
        weight = next(method.net.parameters()).fill_(0.25)
    fit(method, make_digits(1), tmp_path, adda)
    kept = [value for value in adda.nets["source"].state_dict().values() if value.shape == weight.shape]
    assert any((value == 0.25).all() for value in kept)
