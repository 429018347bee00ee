"""Generated images: translations of the source, and pairs from noise."""

import copy

import pytest
import torch
import torch.nn.functional as F
from adaptation_runs import (
    Foreign,
    fit,
    fit_terms,
    gradients_of,
    make_classification,
    make_digits,
    make_street_clips,
    make_streets,
    same,
    weights,
)
from lightning.pytorch.callbacks import ModelCheckpoint
from settings import make_accel, make_segmentation

from callbacks.adaptation import CoGAN, CyCADA

BOTH = pytest.mark.parametrize("callback", [CyCADA, CoGAN])


def running_means(method):
    return {name: buffer.clone() for name, buffer in method.named_buffers() if name.endswith("running_mean")}


@BOTH
def test_a_weight_of_0_trains_the_module_as_without_it(callback, tmp_path):
    alone, beside = make_classification(), make_classification()
    fit(alone, make_digits(2), tmp_path)
    fit(beside, make_digits(2), tmp_path, callback(weight=0.0, base_channels=4))
    assert same(weights(alone), weights(beside))


@BOTH
def test_a_run_resumes_with_the_same_noise(callback, tmp_path):
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    whole, resumed = make_classification(), make_classification(seed=1)
    first, second = (callback(base_channels=4) for _ in range(2))
    fit(whole, make_digits(3), tmp_path, first, keep, enable_checkpointing=True)
    fit(resumed, make_digits(3), tmp_path, second, ckpt_path=str(tmp_path / "step=1.ckpt"))
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(first.nets.state_dict(), second.nets.state_dict())


def mean_log(net, images, is_real):
    probability = net(images).sigmoid()
    return -(probability if is_real else 1 - probability).log().mean()


def test_cycada_is_the_sum_of_its_losses(tmp_path):
    method = make_classification()
    callback = CyCADA(weight=0.5, cycle_weight=3.0, semantic_weight=2.0, base_channels=4, ramp=False)
    original = copy.deepcopy(method.net)
    before = make_classification()
    (term,) = fit_terms(callback, method, make_digits(1), tmp_path)
    nets, source, target = term.nets, term.pair.batch["image"], term.pair.target_input
    to_source, to_target = nets["to_source"], nets["to_target"]
    fake_source, fake_target = to_source(target), to_target(source)
    expected = 3 * ((to_source(fake_target) - source).abs().mean() + (to_target(fake_source) - target).abs().mean())
    for domain, real, fake in (("source", source, fake_source), ("target", target, fake_target)):
        judge = nets[f"judge_{domain}"]
        expected += (mean_log(judge, real, True) + mean_log(judge, fake, False)) / 2 + mean_log(judge, fake, True)
    original.train()
    for start, translated in ((source, fake_target), (target, fake_source)):
        expected += 2 * F.cross_entropy(original(translated), original(start).argmax(1))
    before.train()
    expected += 0.5 * before.loss(term.pair.batch | {"image": fake_target})
    torch.testing.assert_close(term.value, expected)


def test_cycada_trains_all_nets_and_the_module_by_translated_images_only(tmp_path):
    callback, method = CyCADA(base_channels=4, ramp=False), make_classification()
    terms = fit_terms(callback, method, make_digits(2), tmp_path, num_batches=2)
    owned = {f"adaptation_cycada.{name}" for name, _ in callback.nets.named_parameters()}
    # from the second step on, because the last convolutions of the translators start at 0; without biases before a norm
    assert {name for name in owned if not name.endswith(".0.bias")} < terms[1].reached
    assert {"net.net.conv1.weight", "net.net.fc.weight"} < terms[1].reached
    callback, method = CyCADA(weight=0, base_channels=4), make_classification()
    (term,) = fit_terms(callback, method, make_digits(1), tmp_path)
    assert all(name.startswith("adaptation_cycada.") for name in term.reached)


def test_each_net_of_cycada_learns_from_its_own_losses_only(tmp_path):
    method = make_classification()
    original = copy.deepcopy(method.net).train()
    callback = CyCADA(cycle_weight=3.0, semantic_weight=2.0, base_channels=4, ramp=False)
    (term,) = fit_terms(callback, method, make_digits(1), tmp_path)
    images = {"source": term.pair.batch["image"], "target": term.pair.target_input}
    deceptions, cycles = 0, 0
    for start, end in (("source", "target"), ("target", "source")):
        there, back, judge = term.nets[f"to_{end}"], term.nets[f"to_{start}"], term.nets[f"judge_{end}"]
        translated = there(images[start])
        discrimination = (mean_log(judge, images[end], True) + mean_log(judge, translated.detach(), False)) / 2
        expected = gradients_of(discrimination, judge)
        torch.testing.assert_close(term.owned_gradients(f"judge_{end}"), expected, rtol=1e-4, atol=1e-6)
        deceptions += mean_log(judge, translated, True)
        deceptions += 2 * F.cross_entropy(original(translated), original(images[start]).argmax(1))
        cycles += 3 * (back(translated) - images[start]).abs().mean()
    for translator in ("to_source", "to_target"):
        expected = gradients_of(deceptions + cycles, term.nets[translator])
        torch.testing.assert_close(term.owned_gradients(translator), expected, rtol=1e-4, atol=1e-6)


def test_cogan_is_the_sum_of_its_games(tmp_path):
    method = make_classification()
    original = copy.deepcopy(method)
    callback = CoGAN(weight=0.3, noise_size=6, base_channels=4)
    drawn = []
    callback_games = callback._games

    def games(pair, strength):
        nets = callback.nets["generators"]
        handle = nets.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[0]))
        value = callback_games(pair, strength)
        handle.remove()
        return value

    callback._games = games
    (term,) = fit_terms(callback, method, make_digits(1), tmp_path)
    (noise,) = drawn
    assert noise.shape == (4, 6)
    expected = 0
    pairs = zip(("source", "target"), (term.pair.source, term.pair.target), term.nets["generators"](noise), strict=True)
    for domain, real, generated in pairs:
        fake = features_of(original, generated)
        judge = term.nets[f"judge_{domain}"]
        discrimination = (mean_log(judge, real.features, True) + mean_log(judge, fake, False)) / 2
        expected += 1.3 * discrimination + mean_log(judge, fake, True)
    torch.testing.assert_close(term.value, expected)


def features_of(method, images):
    seen = []
    handle = method.net.net.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.train()(images)
    handle.remove()
    return seen[0]


def test_cogan_trains_all_nets_and_the_features(tmp_path):
    callback = CoGAN(base_channels=4)
    (term,) = fit_terms(callback, make_classification(), make_digits(1), tmp_path)
    assert {f"adaptation_cogan.{name}" for name, _ in callback.nets.named_parameters()} < term.reached
    assert "net.net.conv1.weight" in term.reached
    assert not any(name.startswith("net.net.fc") for name in term.reached)
    (term,) = fit_terms(CoGAN(weight=0, base_channels=4), make_classification(), make_digits(1), tmp_path)
    assert all(name.startswith("adaptation_cogan.") for name in term.reached)


def test_generated_images_leave_the_statistics_of_norms_alone(tmp_path):
    """Only source and target pass through the module's own norms."""
    expected = make_classification()
    method = make_classification()
    (term,) = fit_terms(CoGAN(base_channels=4), method, make_digits(1), tmp_path)
    expected.train()
    with torch.no_grad():
        expected(term.pair.batch["image"])
        expected(term.pair.target_input)
    assert same(running_means(expected), running_means(method))


@BOTH
def test_larger_images_work_and_clips_are_refused(callback, tmp_path):
    torch.manual_seed(0)
    (term,) = fit_terms(callback(base_channels=2), make_segmentation(11), make_streets(), tmp_path)
    assert torch.isfinite(term.value)
    method = make_accel(11)
    method.branch_stage_fraction = 0.0
    with pytest.raises(ValueError, match="expected batches of single images"):
        fit(method, make_street_clips(), tmp_path, callback(base_channels=2), limit_train_batches=1)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"expected a Method, or a module with loss\(batch\), .* got Foreign"):
        fit(Foreign(), make_digits(1), tmp_path, CyCADA())
    with pytest.raises(ValueError, match="expected cycle_weight of at least 0, got -1"):
        CyCADA(cycle_weight=-1)
    with pytest.raises(ValueError, match="expected noise_size of at least 1, got 0"):
        CoGAN(noise_size=0)
