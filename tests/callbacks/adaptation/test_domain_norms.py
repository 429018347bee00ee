"""Statistics of source and target in batch norms, compared with running means that are computed by hand."""

import copy
import itertools

import pytest
import torch
from domain_pairs import TinyNet, digits, fit, tiny_method, two_digits, weights_of
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from toys import make_trainer

from callbacks import WarmStart
from callbacks.adaptation import ADDA, DANN, DomainNorms
from lightning_edge.methods import Classification

NORMS = ("net.body.0", "net.body.4")


class NormNet(TinyNet):
    def __init__(self, momentum=0.1):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(3, momentum=momentum), *self.body, nn.BatchNorm1d(8, momentum=momentum)
        )
        self.body = nn.Sequential(*[part for part in self.body if not isinstance(part, nn.Tanh)])


def norm_method(seed=0, **options):
    torch.manual_seed(seed)
    return Classification(NormNet(**options))


def statistics_of(module, names=NORMS):
    norms = {name: module.get_submodule(name) for name in names}
    return {f"{name}.{key}": value.clone() for name, norm in norms.items() for key, value in norm.named_buffers()}


class Inputs(Callback):
    """Keeps the inputs of all norms in training, by pass: source and target take turns."""

    def __init__(self, folder=None):
        self.inputs, self.outputs, self.folder = {name: [] for name in NORMS}, {}, folder

    def on_fit_start(self, trainer, pl_module):
        for name, inputs in self.inputs.items():
            pl_module.get_submodule(name).register_forward_pre_hook(
                lambda norm, args, inputs=inputs: inputs.append(args[0].detach().clone()) if norm.training else None
            )

    def on_fit_end(self, trainer, pl_module):
        if self.folder is not None:
            torch.save((self.inputs, statistics_of(pl_module)), self.folder / f"{trainer.global_rank}.pt")


def running_statistics(inputs, momentum=0.1):
    """Statistics of norms after passes of these inputs, in float64."""
    statistics = {}
    for name, values in inputs.items():
        mean, var = 0.0, 1.0
        for number, one in enumerate(values, 1):
            rows = one.double().transpose(0, 1).flatten(1)
            rate = 1 / number if momentum is None else momentum
            mean = (1 - rate) * mean + rate * rows.mean(1)
            var = (1 - rate) * var + rate * ((rows - rows.mean(1, keepdim=True)) ** 2).sum(1) / (rows.shape[1] - 1)
        statistics |= {f"{name}.running_mean": mean, f"{name}.running_var": var}
        statistics[f"{name}.num_batches_tracked"] = torch.tensor(len(values))
    return statistics


def of_pass(inputs, first):
    return {name: values[first::2] for name, values in inputs.items()}


def assert_close(actual, expected, **tolerance):
    expected = {name: value.to(actual[name].dtype) for name, value in expected.items()}
    torch.testing.assert_close(dict(actual), expected, **({"rtol": 1e-5, "atol": 1e-6} | tolerance))


def source_of(norms):
    return norms.state_dict()["kept"]


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_source_and_target_have_running_statistics_of_their_own(momentum, accumulated):
    method, norms, inputs = norm_method(momentum=momentum), DomainNorms(), Inputs()
    options = {"max_epochs": 2, "accumulate_grad_batches": accumulated, "limit_val_batches": 1}
    fit(method, two_digits(batches_per_epoch=4), DANN(), norms, inputs, **options)
    assert [len(values) for values in inputs.inputs.values()] == [16, 16]
    expected = [running_statistics(of_pass(inputs.inputs, first), momentum) for first in (0, 1)]
    assert_close(source_of(norms), expected[0])
    assert_close(statistics_of(method), expected[1])
    assert not torch.allclose(expected[0]["net.body.0.running_mean"], expected[1]["net.body.0.running_mean"], atol=0.05)


def test_the_weights_are_those_of_a_training_without_the_callback():
    """Batch norms normalize by the batch in training."""
    plain, method = norm_method(), norm_method()
    for each, callbacks in ((plain, []), (method, [DomainNorms()])):
        torch.manual_seed(1)
        fit(each, two_digits(batches_per_epoch=3), DANN(), *callbacks, limit_val_batches=1)
    torch.testing.assert_close(dict(method.named_parameters()), dict(plain.named_parameters()), rtol=0, atol=0)


class Evaluated(Callback):
    """Keeps images and logits of evaluations by loader, and the statistics of the module after each."""

    def __init__(self):
        self.rows, self.loader = {}, None

    def setup(self, trainer, pl_module, stage):
        self.handle = pl_module.net.register_forward_hook(self.see)

    def teardown(self, trainer, pl_module, stage):
        self.handle.remove()

    def see(self, net, inputs, outputs):
        if self.loader is not None and not torch.is_grad_enabled():
            self.rows.setdefault(self.loader, []).append((inputs[0], outputs))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.loader = trainer.datamodule.evaluation_names[dataloader_idx]

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.loader = None

    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end


def logits_with(method, statistics, images):
    net = copy.deepcopy(method.net).eval()
    net.load_state_dict({n.removeprefix("net."): value for n, value in statistics.items()}, strict=False)
    with torch.no_grad():
        return net(images)


def check_evaluated(evaluated, method, source, target):
    assert set(evaluated.rows) == {"", "target"}
    for name, statistics in (("", source), ("target", target)):
        for images, logits in evaluated.rows[name]:
            torch.testing.assert_close(logits.clone(), logits_with(method, statistics, images), rtol=1e-5, atol=1e-6)
    images, _ = evaluated.rows[""][0]
    assert not torch.allclose(*(logits_with(method, one, images) for one in (source, target)), atol=1e-3)


def test_each_domain_is_evaluated_with_its_own_statistics(tmp_path):
    method, norms = norm_method(), DomainNorms()
    keep = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    callbacks = (DANN(), norms, keep)
    fit(method, two_digits(batches_per_epoch=4), *callbacks, enable_checkpointing=True, limit_val_batches=2)
    source, target = {name: value.clone() for name, value in source_of(norms).items()}, statistics_of(method)

    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert_close({name: checkpoint["state_dict"][name] for name in target}, target, rtol=0, atol=0)
    (state,) = (state for key, state in checkpoint["callbacks"].items() if key.startswith("DomainNorms"))
    assert_close(state["kept"], source, rtol=0, atol=0)

    for run in ("validate", "test"):
        evaluated, loaded = Evaluated(), norm_method(seed=5)  # by a new trainer and a new callback
        trainer = make_trainer(tmp_path, callbacks=[DomainNorms(), evaluated])
        getattr(trainer, run)(loaded, two_digits(), ckpt_path=tmp_path / "last.ckpt", verbose=False)
        check_evaluated(evaluated, method, source, target)
        assert_close(statistics_of(loaded), target, rtol=0, atol=0)

    evaluated = Evaluated()  # by the same callback
    make_trainer(tmp_path, callbacks=[norms, evaluated]).validate(method, two_digits(), verbose=False)
    check_evaluated(evaluated, method, source, target)


def test_validations_within_an_epoch_and_the_sanity_check_disturb_nothing():
    results = []
    for options in ({}, {"num_sanity_val_steps": 2, "val_check_interval": 1, "limit_val_batches": 1}):
        method, norms = norm_method(), DomainNorms()
        torch.manual_seed(1)
        fit(method, two_digits(batches_per_epoch=4), DANN(), norms, **options)
        results.append((statistics_of(method), dict(source_of(norms))))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_a_training_may_follow_an_evaluation():
    """Tensors that are made in inference mode could not be changed later."""
    method, norms, start = norm_method(), DomainNorms(), statistics_of(norm_method())
    make_trainer(None, callbacks=[norms]).validate(method, two_digits(), verbose=False)
    assert_close(statistics_of(method), start, rtol=0, atol=0)
    fit(method, two_digits(batches_per_epoch=2), DANN(), norms)
    for statistics in (source_of(norms), statistics_of(method)):
        assert int(statistics["net.body.0.num_batches_tracked"]) == 2


def test_the_order_of_the_loaders_does_not_matter():
    method, norms = norm_method(), DomainNorms()
    fit(method, two_digits(batches_per_epoch=4), DANN(), norms)
    evaluated = Evaluated()
    data = two_digits(evaluate=("target", "source"))
    make_trainer(None, callbacks=[norms, evaluated]).validate(method, data, verbose=False)
    check_evaluated(evaluated, method, source_of(norms), statistics_of(method))


def test_data_of_one_domain_are_evaluated_with_the_statistics_of_the_target():
    method, norms = norm_method(), DomainNorms()
    fit(method, two_digits(batches_per_epoch=4), DANN(), norms)
    target, seen = statistics_of(method), []
    handle = method.net.register_forward_hook(lambda _, inputs, outputs: seen.append((inputs[0], outputs)))
    make_trainer(None, callbacks=[norms]).validate(method, digits("mnist_m"), verbose=False)
    handle.remove()
    assert seen
    for images, logits in seen:
        torch.testing.assert_close(logits.clone(), logits_with(method, target, images))


class Fails(Callback):
    def __init__(self, hook):
        setattr(self, hook, self.fail)

    def fail(self, *args, **kwargs):
        raise RuntimeError("power cut")


@pytest.mark.parametrize("hook", ["on_before_optimizer_step", "on_validation_batch_end"])
def test_after_an_error_the_module_has_the_statistics_of_the_target(hook):
    method, norms, inputs = norm_method(), DomainNorms(), Inputs()
    with pytest.raises(RuntimeError, match="power cut"):
        fit(method, two_digits(batches_per_epoch=2), DANN(), norms, inputs, Fails(hook), limit_val_batches=1)
    expected = [running_statistics(of_pass(inputs.inputs, first)) for first in (0, 1)]
    assert len(inputs.inputs["net.body.0"]) == (2 if hook == "on_before_optimizer_step" else 4)
    assert_close(source_of(norms), expected[0])
    assert_close(statistics_of(method), expected[1])


def test_nets_without_batch_norm_are_not_changed():
    plain, method, norms = tiny_method(), tiny_method(), DomainNorms()
    for each, callbacks in ((plain, []), (method, [norms])):
        torch.manual_seed(1)
        fit(each, two_digits(batches_per_epoch=2), DANN(), *callbacks, limit_val_batches=1)
    torch.testing.assert_close(weights_of(method), weights_of(plain), rtol=0, atol=0)
    assert source_of(norms) == {}


def test_norms_without_statistics_are_left_alone():
    method = norm_method()
    method.net.body[0] = nn.BatchNorm2d(3, track_running_stats=False)
    norms = DomainNorms()
    fit(method, two_digits(batches_per_epoch=2), DANN(), norms, limit_val_batches=1)
    assert {name.rpartition(".")[0] for name in source_of(norms)} == {"net.body.4"}


def test_without_a_pass_of_the_target_both_domains_have_the_statistics_of_the_source(tmp_path):
    method, norms, evaluated = norm_method(), DomainNorms(), Evaluated()
    fit(method, two_digits(batches_per_epoch=3), norms, evaluated, limit_val_batches=1)
    plain, expected = norm_method(), Evaluated()
    trainer = fit(plain, two_digits(batches_per_epoch=3), expected, limit_val_batches=1)
    assert_close(statistics_of(method), statistics_of(plain), rtol=0, atol=0)
    torch.testing.assert_close(evaluated.rows, expected.rows, rtol=0, atol=0)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    fit(plain, two_digits(batches_per_epoch=3), norms)
    assert int(plain.net.body[0].num_batches_tracked) == 6


class Saves(Callback):
    """Saves a checkpoint after a step."""

    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class OfTarget(Inputs):
    """Keeps the inputs of norms while the module sees the target in training."""

    def on_train_start(self, trainer, pl_module):
        self.places = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.places.append(len(self.inputs["net.body.0"]))


@pytest.mark.parametrize("step", [2, 5])
def test_the_statistics_of_the_target_start_with_its_first_pass(step, tmp_path):
    """In the first stage of ADDA, only the source passes; in the second one, the target and the source net pass too."""
    path, results = tmp_path / "at.ckpt", []
    for more, options in (([Saves(path, step)], {}), ([], {"ckpt_path": path})):
        method, norms, inputs = norm_method(seed=len(results)), DomainNorms(), OfTarget()
        torch.manual_seed(1)
        options |= {"max_epochs": 2, "limit_val_batches": 1}
        fit(method, two_digits(batches_per_epoch=3), ADDA(hidden_size=4), norms, inputs, *more, **options)
        results.append((statistics_of(method), source_of(norms), weights_of(method)))
        if not options.get("ckpt_path"):
            assert inputs.places[:3] == [1, 2, 3]
            passes = [list(range(*ends)) for ends in itertools.pairwise(inputs.places[2:])]
            of_target = {name: [values[places[1]] for places in passes] for name, values in inputs.inputs.items()}
            assert_close(results[0][0], running_statistics(of_target))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


class Frozen(Classification):
    """Norms that do not learn statistics."""

    def on_train_batch_start(self, batch, batch_idx):
        self.net.body.eval()


def test_both_domains_start_with_loaded_weights_wherever_the_callback_that_loads_them_is_listed(tmp_path):
    start = norm_method()
    with torch.no_grad():
        start.net.body[0].running_mean += 5
    torch.save({"state_dict": start.state_dict()}, tmp_path / "start.ckpt")
    for order in (1, -1):
        callbacks = [DomainNorms(), WarmStart(tmp_path / "start.ckpt")][::order]
        norms = next(callback for callback in callbacks if isinstance(callback, DomainNorms))
        torch.manual_seed(0)
        method = Frozen(NormNet())
        fit(method, two_digits(batches_per_epoch=2), DANN(), *callbacks)
        for statistics in (source_of(norms), statistics_of(method)):
            torch.testing.assert_close(statistics["net.body.0.running_mean"], torch.full((3,), 5.0))


def test_the_callback_can_be_used_again_with_another_module():
    class Deeper(NormNet):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(self.body, nn.BatchNorm1d(8))

    norms = DomainNorms()
    fit(norm_method(), two_digits(batches_per_epoch=2), DANN(), norms)
    method = Classification(Deeper())
    fit(method, two_digits(batches_per_epoch=3), DANN(), norms, limit_val_batches=1)
    names = {name for name in method.state_dict() if "running" in name or "tracked" in name}
    assert set(source_of(norms)) == names
    assert all(int(source_of(norms)[name]) == 3 for name in names if name.endswith("tracked"))


@pytest.mark.slow
def test_two_processes_use_the_statistics_of_the_first_one(tmp_path):
    """As batch norms do without this callback."""
    method, norms, inputs = norm_method(), DomainNorms(), Inputs(tmp_path)
    options = {"devices": 2, "strategy": "ddp_fork", "limit_val_batches": 1}
    fit(method, two_digits(batches_per_epoch=3), DANN(), norms, inputs, Shares(tmp_path), **options)
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    sources = [torch.load(tmp_path / f"source_{rank}.pt") for rank in range(2)]
    first = shares[0][0]
    assert [len(values) for values in first.values()] == [6, 6]
    assert not torch.equal(first["net.body.0"][0], shares[1][0]["net.body.0"][0])
    for statistics, first_pass in ((sources, 0), ([share[1] for share in shares], 1)):
        for one in statistics:
            assert_close(one, running_statistics(of_pass(first, first_pass)))


class Shares(Callback):
    """Saves the statistics of the source in each process."""

    def __init__(self, folder):
        self.folder = folder

    def on_fit_end(self, trainer, pl_module):
        norms = next(callback for callback in trainer.callbacks if isinstance(callback, DomainNorms))
        torch.save(source_of(norms), self.folder / f"source_{trainer.global_rank}.pt")
