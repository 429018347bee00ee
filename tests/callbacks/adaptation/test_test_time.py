"""Norms that adapt during an evaluation."""

import copy

import pytest
import torch
import torch.nn.functional as F
from adaptation_runs import Foreign, fit, make_classification, make_digits, same
from domain_layers import MNIST_M, ShiftedByDomain
from domain_pairs import digits as domain_digits
from domain_pairs import tiny_method
from lightning.pytorch import Callback
from settings import make_bdd100k, make_camvid, make_detection, make_segmentation
from settings import make_digits as make_plain_digits
from toys import make_trainer

from callbacks.adaptation import TENT
from lightning_edge.data import DigitsDataModule
from lightning_edge.nn.conditioning import in_domain


def digits():
    return DigitsDataModule(num_samples=(30, 30), batch_size=4, eval_batch_size=4, num_workers=0)


class Outputs(Callback):
    """Batches and logits of an evaluation."""

    def __init__(self):
        self.batches, self.logits = [], []

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.batches.append(batch["image"].clone())
        self.logits.append(outputs.clone())

    on_validation_batch_end = on_test_batch_end


DOUBLE = {"precision": "64-true"}
"""The first steps of Adam enlarge rounding errors of gradients that are almost 0."""


def evaluate(method, data, folder, *callbacks, call="test", **arguments):
    outputs = Outputs()
    trainer = make_trainer(folder, callbacks=[outputs, *callbacks], **arguments)
    getattr(trainer, call)(method, data, verbose=False)
    return outputs


def adapted(method, batches, num_steps=1):
    """Logits of a net whose norms take a step after each batch, written without any of the library's parts."""
    net = copy.deepcopy(method.net).eval()
    norms = [module.train() for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    optimizer = torch.optim.Adam([p for norm in norms for p in norm.parameters()], lr=0.001)
    logits = []
    for image in batches:
        with torch.no_grad():
            logits.append(net(image.clone()))
        for _ in range(num_steps):
            optimizer.zero_grad()
            probability = F.softmax(net(image.clone()), 1)
            (-(probability * probability.log()).sum() / len(image)).backward()
            optimizer.step()
    return logits


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("num_steps", [1, 2])
@pytest.mark.parametrize("call", ["test", "validate"])
def test_predictions_are_those_of_the_paper(inference_mode, num_steps, call, tmp_path):
    method = make_classification()
    outputs = evaluate(
        method, digits(), tmp_path, TENT(num_steps=num_steps), call=call, inference_mode=inference_mode, **DOUBLE
    )
    assert len(outputs.batches) == 3
    torch.testing.assert_close(outputs.logits, adapted(method, outputs.batches, num_steps))


def test_steps_of_length_0_leave_the_statistics_of_the_batches(tmp_path):
    method = make_classification()
    callback = TENT(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    outputs = evaluate(method, digits(), tmp_path, callback)
    net = copy.deepcopy(method.net).train()
    with torch.no_grad():
        torch.testing.assert_close(outputs.logits, [net(image) for image in outputs.batches])


def test_the_module_is_the_same_afterwards(tmp_path):
    method = make_classification()
    method.net.net.bn1.weight.requires_grad = False
    method.net.net.layer1.train(False)
    before, modes = copy.deepcopy(method.state_dict()), [module.training for module in method.net.modules()]
    evaluate(method, digits(), tmp_path, TENT())
    assert same(before, method.state_dict())
    assert [module.training for module in method.net.modules()] == modes
    assert [name for name, parameter in method.named_parameters() if not parameter.requires_grad] == [
        "net.net.bn1.weight"
    ]
    assert all(parameter.grad is None for parameter in method.parameters())


class WithinDomain(torch.nn.Module):
    """A net that is always told the domain of MNIST-M."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        with in_domain(self.net, MNIST_M):
            return self.net(image)


def test_norms_adapt_to_predictions_within_the_domain(tmp_path):
    method = tiny_method()
    method.net.body.insert(1, torch.nn.BatchNorm2d(3))
    method.net.body.insert(2, ShiftedByDomain())
    outputs = evaluate(method, domain_digits("mnist_m", eval_batch_size=2), tmp_path, TENT(num_steps=50), **DOUBLE)
    assert len(outputs.batches) == 2
    alone = adapted(method, outputs.batches, 50)
    method.net = WithinDomain(method.net)
    torch.testing.assert_close(outputs.logits, adapted(method, outputs.batches, 50))
    assert not torch.allclose(outputs.logits[1], alone[1])


def test_each_loader_starts_from_the_original_net(tmp_path):
    method = make_classification()
    outputs = evaluate(method, make_digits(eval_batch_size=2), tmp_path, TENT(), **DOUBLE)
    half = len(outputs.batches) // 2
    expected = [*adapted(method, outputs.batches[:half]), *adapted(method, outputs.batches[half:])]
    torch.testing.assert_close(outputs.logits, expected)


def test_a_fit_with_validation_stays_as_it_is(tmp_path):
    plain, beside = make_classification(), make_classification()
    fit(plain, make_digits(2), tmp_path, limit_val_batches=1)
    fit(beside, make_digits(2), tmp_path, TENT(), limit_val_batches=1)
    assert same(plain.state_dict(), beside.state_dict())


def test_segmentation_adapts_too(tmp_path):
    torch.manual_seed(0)
    method = make_segmentation(11)
    before = copy.deepcopy(method.state_dict())
    trainer = make_trainer(tmp_path, callbacks=[TENT()])
    trainer.validate(method, make_camvid(), verbose=False)
    assert torch.isfinite(trainer.callback_metrics["val/miou"])
    assert same(
        {name: value for name, value in before.items() if "confusion" not in name},
        {name: value for name, value in method.state_dict().items() if "confusion" not in name},
    )


def test_a_last_batch_of_one_image_uses_running_statistics(tmp_path):
    method = make_classification()
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(size, 3, 32, 32, generator=generator) for size in (4, 1)]
    batches = [{"image": image, "label": torch.zeros(len(image), dtype=torch.int64)} for image in images]
    outputs = Outputs()
    callback = TENT(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    make_trainer(tmp_path, callbacks=[outputs, callback]).test(method, loader, verbose=False)
    net = copy.deepcopy(method.net).train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda norm, inputs: norm.train(inputs[0][0, 0].numel() > 1) and None)
    with torch.no_grad():
        torch.testing.assert_close(outputs.logits[1], net(images[1]))


def test_frames_are_predicted_by_adapted_norms(tmp_path):
    method = make_classification()
    generator = torch.Generator().manual_seed(0)
    frames = [{"image": torch.rand(4, 3, 32, 32, generator=generator).double()} for _ in range(3)]
    trainer = make_trainer(tmp_path, callbacks=[TENT()], **DOUBLE)
    classes = trainer.predict(method, torch.utils.data.DataLoader(frames, batch_size=None))
    expected = [logits.argmax(1) for logits in adapted(method, [frame["image"] for frame in frames])]
    assert all(torch.equal(*pair) for pair in zip(classes, expected, strict=True))


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="expected num_steps of at least 1, got 0"):
        TENT(num_steps=0)
    method = make_detection(10)
    before = copy.deepcopy(method.state_dict())
    with pytest.raises(ValueError, match=r"expected a module whose forward returns logits of classes .* got list"):
        make_trainer(tmp_path, callbacks=[TENT()]).validate(method, make_bdd100k(), verbose=False)
    assert same(before, method.state_dict())


def test_a_module_without_norms_is_refused(tmp_path):
    class Tested(Foreign):
        def test_step(self, batch, batch_idx):
            return self(batch["image"])

    with pytest.raises(ValueError, match=r"expected a module with norms that have scales and shifts, .* got Tested"):
        make_trainer(tmp_path, callbacks=[TENT()]).test(Tested(), make_plain_digits(), verbose=False)


def test_images_that_are_nan_leave_the_module_as_it_was(tmp_path):
    class Spoils(Callback):
        def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
            batch["image"][0, 0, 0, 0] = torch.nan

    method = make_classification()
    before = copy.deepcopy(method.state_dict())
    with pytest.raises(ValueError, match="NaN"):
        evaluate(method, digits(), tmp_path, Spoils(), TENT())
    assert same(before, method.state_dict())
