"""Old names of public classes are found, with a warning, wherever a user has them."""

import importlib

import pytest
import torch
from lightning.pytorch import Trainer
from settings import make_accel

from lightning_edge.data import CamVidVideoDataModule, OneHotEmbedding
from lightning_edge.methods import Accel, Classification
from lightning_edge.model_description import check_description
from lightning_edge.renamed import with_new_arguments

OLD = {
    "lightning_edge.data": {
        "AtRandom": "RandomEmbedding",
        "Estimated": "EstimatedEmbedding",
        "ImageFeatures": "ImageFeatureEmbedding",
        "LabelledClip": "LabeledClip",
        "labelled_drive": "labeled_drive",
        "MeanFeatures": "MeanFeatureEmbedding",
        "OneHot": "OneHotEmbedding",
        "Shuffled": "ShuffledEmbedding",
    },
    "lightning_edge.nn": {"specialise": "specialize"},
    "callbacks": {"PredictionTable": "PredictionWriter"},
}
CASES = [(module, old, new) for module, names in OLD.items() for old, new in names.items()]


@pytest.mark.parametrize(("module", "old", "new"), CASES)
def test_an_old_name_is_the_new_class_with_a_warning(module, old, new):
    loaded = importlib.import_module(module)
    with pytest.warns(FutureWarning, match=f"{module}.{old} is now called {new}"):
        assert getattr(loaded, old) is getattr(loaded, new)


@pytest.mark.parametrize("module", OLD)
def test_a_name_that_never_was_is_refused(module):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Nothing'"):
        importlib.import_module(module).Nothing  # noqa: B018


def test_a_configuration_with_an_old_name_is_understood(monkeypatch, tmp_path):
    from recipes import ddn

    monkeypatch.chdir(tmp_path)
    small = ["--data.sample_size=[64,96]", "--data.num_samples=[2,1]"]
    with pytest.warns(FutureWarning, match="lightning_edge.data.OneHot is now called OneHotEmbedding"):
        data = ddn.main(["domains", *small, "--data.embedding=lightning_edge.data.OneHot"]).datamodule
    assert type(data.embedding) is OneHotEmbedding


def test_a_checkpoint_with_an_old_name_is_checked_like_one_with_the_new():
    with pytest.warns(FutureWarning):
        check_description({"class_path": "lightning_edge.data.OneHot", "init_args": {}}, "a checkpoint", set())


def test_a_checkpoint_with_old_arguments_is_loaded_as_it_was_saved(monkeypatch, tmp_path):
    """Lightning drops arguments that the class does not know, so an unmapped name would silently mean the default."""
    from recipes import ddn

    monkeypatch.chdir(tmp_path)
    small = ["--data.num_samples=[20,20]", "--data.batch_size=4", "--data.num_workers=0"]
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    ddn.main(["fit", "-c", "digits.yaml", *small, *short, "--model.net.submodule=net.layer1"])
    checkpoint = next(tmp_path.rglob("last.ckpt"))
    content = torch.load(checkpoint, weights_only=True)
    arguments = content["hyper_parameters"]["net"]["init_args"]
    arguments["part"] = arguments.pop("submodule")
    torch.save(content, "old.ckpt")
    names = [name for name in content["state_dict"] if "router" in name]
    assert names
    assert all("net.layer1" in name for name in names)
    method = Classification.load_from_checkpoint("old.ckpt", map_location="cpu")
    assert [name for name in method.state_dict() if "router" in name] == names
    test = ["test", "--data=DigitsDataModule", *small, "--trainer.limit_test_batches=1", "--trainer.callbacks=null"]
    tested = ddn.main([*test, "--trainer.logger=false", "--ckpt_path=old.ckpt"]).model
    assert [name for name in tested.state_dict() if "router" in name] == names


def test_arguments_of_the_method_itself_get_their_new_names(tmp_path):
    trainer = Trainer(max_epochs=0, logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.fit(
        make_accel(11), CamVidVideoDataModule(num_samples=(10, 10), sample_size=(32, 48), num_workers=0, batch_size=1)
    )
    trainer.save_checkpoint(tmp_path / "new.ckpt")
    content = torch.load(tmp_path / "new.ckpt", weights_only=True)
    content["hyper_parameters"]["branch_share"] = 0.125
    del content["hyper_parameters"]["branch_stage_fraction"]
    torch.save(content, tmp_path / "old.ckpt")
    net = make_accel(11).net
    assert Accel.load_from_checkpoint(tmp_path / "old.ckpt", net=net).branch_stage_fraction == 0.125
    given = Accel.load_from_checkpoint(tmp_path / "old.ckpt", net=net, branch_stage_fraction=0.5)
    assert given.branch_stage_fraction == 0.5


class Longer(Accel):
    """A subclass without a constructor of its own."""


class WithOwnShare(Accel):
    """A subclass that has an argument with the old name."""

    def __init__(self, net, branch_share=0.0):
        super().__init__(net)
        self.own_share = branch_share


@pytest.mark.parametrize("arguments", [{}, {"weights_only": False}])
def test_a_subclass_gets_the_new_names_too_also_from_a_trusted_file(tmp_path, arguments):
    net = make_accel(11).net
    saved = {"branch_share": 0.125, "interval": 2, "max_interval": 3}
    loops = {"pytorch-lightning_version": "2.6.6", "state_dict": Longer(net).state_dict()}
    torch.save({**loops, "hyper_parameters": saved}, tmp_path / "old.ckpt")
    loaded = Longer.load_from_checkpoint(tmp_path / "old.ckpt", net=net, **arguments)
    assert (loaded.branch_stage_fraction, loaded.interval) == (0.125, 2)
    torch.save({**loops, "hyper_parameters": {"branch_share": 0.125}}, tmp_path / "own.ckpt")
    assert WithOwnShare.load_from_checkpoint(tmp_path / "own.ckpt", net=net, **arguments).own_share == 0.125


def test_only_arguments_of_the_renamed_classes_are_renamed():
    nested = {"class_path": "lightning_edge.nn.DomainNet", "init_args": {"part": "encoder"}}
    renamed = {**nested, "init_args": {"submodule": "encoder"}}
    given = {"net": nested, "others": [{"teacher": nested}], "callable": {"class_path": "torch.optim.SGD"}}
    assert with_new_arguments("lightning_edge.methods.Classification", given) == {
        "net": renamed,
        "others": [{"teacher": renamed}],
        "callable": {"class_path": "torch.optim.SGD"},
    }
    other = {"net": {"class_path": "my_nets.DomainNet", "init_args": {"part": "encoder"}}}
    assert with_new_arguments("lightning_edge.methods.Classification", other) is other
    endless = {}
    endless["net"] = {"class_path": "lightning_edge.nn.DomainNet", "init_args": endless}
    assert with_new_arguments("lightning_edge.methods.Classification", endless) is endless
