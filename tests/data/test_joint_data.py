"""Samples of several data modules in one."""

import copy
import pickle
from collections import Counter

import albumentations as A
import numpy as np
import pytest
import torch
import yaml
from domain_pairs import IdsModule, Recorder, digits, fit, tiny_method
from lightning.pytorch.callbacks import ModelCheckpoint
from settings import make_bdd100k, make_camvid, make_cityscapes, make_detection, make_mnist, make_usps
from toys import make_trainer

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import ClassificationBatch, DetectionBatch, SegmentationBatch
from lightning_edge.data import (
    AdaptationDataModule,
    CamVidDataModule,
    CIFARDataModule,
    CityscapesDataModule,
    JointDataModule,
    RemappedDataModule,
)
from lightning_edge.data.base import EdgeDataModule
from lightning_edge.data.loading import SampleRequest
from lightning_edge.data.remapped import CITYSCAPES_TO_CAMVID
from recipes import domain_adaptation

OPTIONS = {"batch_size": 4, "num_workers": 0}


def join(*parts, **options):
    data = JointDataModule(parts, **(OPTIONS | options))
    data.prepare_data()
    data.setup()
    return data


def ids(*sizes, **options):
    return join(*(IdsModule(size) for size in sizes), **options)


class Numbered(torch.utils.data.Dataset):
    """Samples that are their part, their index in it and the seed of their request."""

    def __init__(self, part, size):
        self.part, self.size = part, size

    def __len__(self):
        return self.size

    def __getitem__(self, item):
        index, seed = (item.index, item.seed) if isinstance(item, SampleRequest) else (item, -1)
        return {"image": torch.tensor([self.part, index, seed % 2**31]), "label": 0}


class NumberedModule(IdsModule):
    def __init__(self, part, size):
        super().__init__(size)
        self.part = part

    def make_dataset(self, split):
        return Numbered(self.part, self.num_samples if split == "train" else 2 + self.part)


def epoch_of(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [row for batch in loader for row in batch["image"].tolist()]


def test_an_epoch_has_each_sample_of_all_parts_once_with_the_seeds_of_the_whole():
    data = join(NumberedModule(0, 5), NumberedModule(1, 7), seed=3)
    rows = epoch_of(data)
    assert sorted((part, index) for part, index, _ in rows) == [(0, i) for i in range(5)] + [(1, i) for i in range(7)]
    requests = {request.index: request.seed % 2**31 for request in data.train_dataloader().sampler}
    assert {(5 * part + index): seed for part, index, seed in rows} == requests
    assert [row[:2] for row in epoch_of(data, 1)] != [row[:2] for row in rows]
    assert epoch_of(join(NumberedModule(0, 5), NumberedModule(1, 7), seed=3)) == rows


def test_evaluation_passes_through_the_parts_one_after_the_other():
    data = join(NumberedModule(0, 5), NumberedModule(1, 7), eval_batch_size=3)
    for loader in (data.val_dataloader(), data.test_dataloader()):
        rows = [row[:2] for batch in loader for row in batch["image"].tolist()]
        assert rows == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]


def test_balanced_parts_are_drawn_equally_often():
    data = join(NumberedModule(0, 3), NumberedModule(1, 21), balance_parts=True)
    rows = epoch_of(data)
    assert Counter(part for part, *_ in rows) == {0: 12, 1: 12}
    assert Counter(index for part, index, _ in rows if part == 0) == {0: 4, 1: 4, 2: 4}
    assert len({tuple(row) for row in rows}) == 24  # with other augmentation each time
    assert Counter(part for part, *_ in epoch_of(join(NumberedModule(0, 3), NumberedModule(1, 21)))) == {0: 3, 1: 21}


@pytest.mark.parametrize("balance_parts", [False, True])
def test_it_is_a_source_of_adaptation_and_resumes(balance_parts, tmp_path):
    def make():
        source = JointDataModule([NumberedModule(0, 3), NumberedModule(1, 13)], balance_parts, **OPTIONS)
        return AdaptationDataModule(source, IdsModule(16))

    whole, failed, resumed = Recorder(), Recorder(fails_at_step=2), Recorder()
    fit(whole, make(), max_epochs=1)
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(failed, make(), keep, enable_checkpointing=True, max_epochs=1)
    fit(resumed, make(), ckpt_path=tmp_path / "step=2.ckpt", max_epochs=1)
    assert failed.steps + resumed.steps == whole.steps
    assert len(whole.steps) == 4
    counts = Counter(part for source, _ in whole.steps for part, *_ in source)
    assert counts == ({0: 8, 1: 8} if balance_parts else {0: 3, 1: 13})


def test_classes_can_be_balanced_over_all_parts():
    source = JointDataModule([IdsModule(4), IdsModule(5)], **OPTIONS)
    data = AdaptationDataModule(source, IdsModule(12), balance_classes=True)
    data.setup()
    labels = [label for batch, *_ in data.train_dataloader() for label in batch["source"]["label"].tolist()]
    assert Counter(labels) == {0: 4, 1: 4, 2: 4}
    source = JointDataModule([IdsModule(4), IdsModule(5)], balance_parts=True, **OPTIONS)
    data = AdaptationDataModule(source, IdsModule(12), balance_classes=True)
    data.setup()
    with pytest.raises(ValueError, match="expected balance_classes=False for a source with balance_parts=True"):
        data.train_dataloader()


def make_remapped():
    return RemappedDataModule(make_cityscapes(), CITYSCAPES_TO_CAMVID, CamVidDataModule.class_names)


def test_labels_of_remapped_parts_are_mapped_sample_by_sample():
    remapped, camvid = make_remapped(), make_camvid()
    camvid.train_transform = remapped.data.train_transform = A.CenterCrop(64, 96)
    data = join(remapped, camvid, batch_size=5, eval_batch_size=1)
    num_cityscapes = len(remapped.data.dataset("val"))
    expected = []
    for part in (remapped, camvid):
        loader = part.val_dataloader()
        expected += [mask for batch in loader for mask in part.on_after_batch_transfer(batch, 0)["mask"]]
    actual = [mask for batch in data.val_dataloader() for mask in data.on_after_batch_transfer(batch, 0)["mask"]]
    assert len(actual) == len(expected) > num_cityscapes
    assert all(torch.equal(*pair) for pair in zip(actual, expected, strict=True))
    inner = [remapped.data.dataset("val")[index]["mask"] for index in range(num_cityscapes)]
    assert any(not torch.equal(one.long(), other) for one, other in zip(inner, actual, strict=False))
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    check_batch(batch, SegmentationBatch)
    assert set(batch["mask"].unique().tolist()) <= {*range(11), 255}


def test_labels_of_remapped_classification_are_those_of_balanced_sampling():
    table = {name: str(9 - int(name)) for name in map(str, range(10))}
    part = RemappedDataModule(digits("mnist"), table, tuple(map(str, range(10))))
    data = join(part, digits("mnist_m"))
    dataset = data.dataset("train")
    assert dataset.labels.tolist() == [int(dataset[index]["label"]) for index in range(len(dataset))]
    count = len(part.data.dataset("train"))
    assert (dataset.labels[:count] == 9 - part.data.dataset("train").labels).all()


def test_a_joint_data_module_can_be_remapped_as_a_whole():
    parity = {str(digit): "odd" if digit % 2 else "even" for digit in range(10)}
    joint = JointDataModule([make_mnist(), make_usps()], **OPTIONS)
    data = RemappedDataModule(joint, parity, ("even", "odd"))
    data.prepare_data()
    data.setup("fit")
    batches = [data.on_after_batch_transfer(batch, 0)["label"].tolist() for batch in data.val_dataloader()]
    expected = [int(label) % 2 for label in joint.dataset("val").labels]
    assert [label for batch in batches for label in batch] == expected


def test_domains_that_differ_are_left_out_and_common_ones_kept():
    same = join(digits("mnist"), digits("mnist_m"))
    assert same.domain_names == ("mnist", "mnist_m", "inverted", "blurred")
    assert same.embedding_features == 4
    batch = same.on_after_batch_transfer(next(iter(same.val_dataloader())), 0)
    check_batch(batch, ClassificationBatch)
    assert "domain" in batch
    mixed = join(digits("mnist"), make_usps())
    assert mixed.domain_names is None
    assert not hasattr(mixed, "embedding_features")
    batches = [mixed.on_after_batch_transfer(batch, 0) for batch in mixed.val_dataloader()]
    assert {key for batch in batches for key in batch} == {"image", "label"}


def test_images_of_detection_have_numbers_of_their_own():
    first, second = make_bdd100k(), make_bdd100k()
    second.keep_attributes = {"timeofday": ("daytime",)}
    data = join(first, second, eval_batch_size=3)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()]
    check_batch(batches[0], DetectionBatch)
    count = len(first.dataset("val")) + len(second.dataset("val"))
    assert [number for batch in batches for number in batch["image_id"].tolist()] == list(range(count))
    trainer = make_trainer(None, limit_train_batches=1)
    trainer.fit(make_detection(10), JointDataModule([make_bdd100k(), make_bdd100k()], **OPTIONS))
    assert "val/ap50" in trainer.callback_metrics


def test_batches_of_images_are_read_at_once_with_the_same_result():
    data = join(digits("mnist"), digits("mnist_m"))
    dataset = data.dataset("train")
    requests = [SampleRequest(index, 7 * index, 0) for index in (30, 2, 21, 0)]
    for request, sample in zip(requests, dataset.__getitems__(requests), strict=True):
        part = data.parts[request.index >= 20].dataset("train")
        local = request.index - (20 if request.index >= 20 else 0)
        expected = part[SampleRequest(local, request.seed, 0)]
        assert all(torch.equal(sample[key], expected[key]) for key in ("image", "label", "domain"))


def test_facts_are_those_of_the_parts():
    data = JointDataModule([make_remapped(), make_camvid()], **OPTIONS)
    assert (data.num_classes, data.class_names) == (11, CamVidDataModule.class_names)
    assert data.ignore_index == 255
    assert data.batch_type is SegmentationBatch
    assert isinstance(data, EdgeDataModule)
    assert len(data.palette) == 11
    plain = JointDataModule([IdsModule(4), IdsModule(5)])
    assert (plain.num_classes, hasattr(plain, "class_names"), hasattr(plain, "palette")) == (3, False, False)


def test_copies_serve_the_same_samples():
    data = join(digits("mnist"), make_usps(), seed=1)
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        batches = [next(iter(each.train_dataloader()))["image"] for each in (data, other)]
        assert torch.equal(*batches)


def test_samples_are_those_of_the_trainer_and_fixed_ones_of_all_parts():
    data = join(digits("mnist"), digits("mnist_m"))
    samples = data.fixed_samples("val", 4)
    assert [int(sample["domain"]) for sample in samples] == [0, 0, 1, 1]
    fit(tiny_method(), AdaptationDataModule(JointDataModule([digits("mnist"), digits("inverted")]), digits("mnist_m")))


def test_errors():
    with pytest.raises(ValueError, match="expected parts with at least one data module, got none"):
        JointDataModule([])
    with pytest.raises(TypeError, match=r"expected parts as data modules|list"):
        JointDataModule([make_mnist(), 3])
    same = make_mnist()
    with pytest.raises(ValueError, match="expected parts as different data modules, got the same object twice"):
        JointDataModule([same, same])
    with pytest.raises(ValueError, match="expected parts with the same batch_type"):
        JointDataModule([make_mnist(), make_camvid()])
    with pytest.raises(ValueError, match=r"the same num_classes, got 19 of City.* and 11 of CamVid.*: Remapped"):
        JointDataModule([make_cityscapes(), make_camvid()])
    with pytest.raises(ValueError, match="expected parts with the same class_names"):
        JointDataModule([make_mnist(), CIFARDataModule(num_samples=(40, 20))])
    with pytest.raises(ValueError, match="whose collate or on_after_batch_transfer differ"):
        JointDataModule([make_cityscapes(), OtherConversion(num_samples=(4, 2))])
    with pytest.raises(ValueError, match="expected batch_size of at least 1, got 0"):
        JointDataModule([make_mnist()], batch_size=0)


class OtherConversion(CityscapesDataModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return super().on_after_batch_transfer(batch, dataloader_idx)


def test_a_configuration_can_name_several_sources(capsys):
    parts = [{"class_path": "MNISTDataModule"}, {"class_path": "USPSDataModule", "init_args": {"seed": 3}}]
    arguments = ["--data.source=JointDataModule", f"--data.source.parts={parts}", "--data.source.balance_parts=true"]
    with pytest.raises(SystemExit):
        domain_adaptation.main(["fit", "--print_config", *arguments, "--data.source.batch_size=6"])
    source = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["source"]
    assert source["class_path"] == "lightning_edge.data.JointDataModule"
    options = source["init_args"]
    assert (options["balance_parts"], options["batch_size"]) == (True, 6)
    assert [part["class_path"].rpartition(".")[2] for part in options["parts"]] == ["MNISTDataModule", "USPSDataModule"]
    assert options["parts"][1]["init_args"]["seed"] == 3


def test_labels_are_unknown_if_a_part_does_not_know_them():
    data = join(make_camvid(), make_remapped())
    assert data.dataset("val").labels is None
    sizes = [len(part.dataset("val")) for part in data.parts]
    assert np.array_equal(data.dataset("val").part_of_sample, np.repeat([0, 1], sizes))
