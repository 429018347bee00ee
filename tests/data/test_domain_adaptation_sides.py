"""What the data module of source and target gives and refuses: labels, names, evaluations, errors."""

import inspect

import pytest
import settings
import torch
from domain_pairs import IdsModule, Recorder, fit, two_digits
from toys import make_trainer

from lightning_edge.batch_checks import check_batch
from lightning_edge.data import AdaptationDataModule, DigitsDataModule


def ids(source=26, target=9, batch_size=4, num_workers=0, **options):
    return AdaptationDataModule(
        *(IdsModule(count, batch_size=batch_size, num_workers=num_workers) for count in (source, target)), **options
    )


def steps_of(data, **options):
    module = Recorder()
    trainer = fit(module, data, **options)
    return module.steps, trainer


def test_names_are_those_of_the_source():
    data = two_digits()
    assert data.num_classes == data.source.num_classes == 10
    assert data.class_names == data.source.class_names
    assert data.domain_names == data.source.domain_names == ("mnist", "mnist_m", "inverted", "blurred")
    assert not hasattr(data, "palette")
    with pytest.raises(AttributeError, match="'AdaptationDataModule' object has no attribute 'colors'"):
        data.colors  # noqa: B018


def test_domains_with_other_names_have_none():
    data = ids()
    data.source.domain_names, data.target.domain_names = ("day", "night"), ("rain", "snow")
    assert data.domain_names is None


MAKERS = {
    "classification": settings.make_digits,
    "segmentation": settings.make_camvid,
    "clips": settings.make_camvid_video,
    "detection": settings.make_bdd100k,
}
KNOWN = {
    "classification": {"image", "domain_embedding"},
    "segmentation": {"image"},
    "clips": {"frames"},
    "detection": {"image", "domain_embedding"},
}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_target_has_no_labels_in_workers_and_in_training(kind):
    data = AdaptationDataModule(MAKERS[kind](), MAKERS[kind]())
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))[0]
    assert set(batch["target"]) == KNOWN[kind]
    source = data.on_after_batch_transfer(batch, 0)
    check_batch(source, data.batch_type)
    assert set(data.target_batch) == KNOWN[kind]
    for key in KNOWN[kind]:
        assert data.target_batch[key].shape[2:] == source[key].shape[2:]  # clips of two batches differ in length
        assert len(data.target_batch[key]) == len(source[key])
        assert data.target_batch[key].is_floating_point()
    inputs = data.target_batch[min(KNOWN[kind] - {"domain_embedding"})]
    assert 0 <= inputs.min() <= inputs.max() <= 1
    assert inputs.max() > 0.1


def test_keys_that_a_transfer_adds_are_removed():
    data = ids()
    data.target.on_after_batch_transfer = lambda batch, dataloader_idx: batch | {"label": batch["image"]}
    steps_of(data)
    assert set(data.target_batch) == {"image"}


def test_batches_of_worker_processes_have_no_labels():
    data = AdaptationDataModule(*(DigitsDataModule(num_samples=(30, 20), batch_size=4) for _ in range(2)))
    data.prepare_data()
    data.setup("fit")
    target = data.train_dataloader().flattened[1]
    assert target.num_workers == 2
    target.sampler.set_epoch(0)
    assert [set(batch) for batch in target] == [KNOWN["classification"]] * len(target)


def test_each_side_is_evaluated_as_it_would_be_alone():
    data = two_digits(evaluate=("target", "source"))
    data.prepare_data()
    data.setup()
    assert data.evaluation_names == ("target", "")
    for loaders, split in ((data.val_dataloader(), "val"), (data.test_dataloader(), "test")):
        for number, side in enumerate((data.target, data.source)):
            (batch,) = loaders[number]
            (expected,) = getattr(side, f"{split}_dataloader")()
            batch, expected = data.on_after_batch_transfer(batch, number), side.on_after_batch_transfer(expected, 0)
            assert set(batch) == set(expected)
            assert all(torch.equal(batch[key], expected[key]) for key in batch)
    with pytest.raises(ValueError, match="expected data to predict on, such as FramesDataModule"):
        data.predict_dataloader()


def test_the_same_object_twice_is_refused():
    data = IdsModule(5)
    with pytest.raises(ValueError, match="source and target as two data modules, got the same object twice"):
        AdaptationDataModule(data, data)


def test_other_types_of_batches_are_refused():
    with pytest.raises(ValueError, match="same batch type, got ClassificationBatch of DigitsDataModule and Segment"):
        AdaptationDataModule(settings.make_digits(), settings.make_camvid())


def test_other_classes_are_refused():
    with pytest.raises(ValueError, match=r"same classes in the same order, got \['0', .*: RemappedDataModule brings"):
        AdaptationDataModule(settings.make_digits(), settings.make_cifar())
    shuffled = settings.make_digits()
    shuffled.class_names = shuffled.class_names[::-1]
    with pytest.raises(ValueError, match="same classes in the same order"):
        AdaptationDataModule(settings.make_digits(), shuffled)


@pytest.mark.parametrize("numbers", [(3, 4), (4, 3)])
def test_other_numbers_of_classes_without_names_are_refused(numbers):
    with pytest.raises(ValueError, match=rf"same num_classes, got {numbers[0]} and {numbers[1]}"):
        AdaptationDataModule(*(IdsModule(5, num_classes) for num_classes in numbers))


@pytest.mark.parametrize("other", [None, "digits", torch.utils.data.DataLoader([1])])
def test_something_else_than_data_modules_is_refused(other):
    unchecked = inspect.unwrap(AdaptationDataModule.__init__)  # the tests check types of arguments too
    with pytest.raises(TypeError, match=rf"expected target as a data module .*, got {type(other).__name__}"):
        unchecked(object.__new__(AdaptationDataModule), IdsModule(5), other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches_per_epoch": 0}, "batches_per_epoch of at least 1, got 0"),
        ({"seed": -1}, "seed of at least 0, got -1"),
        ({"evaluate": ()}, r"evaluate with 'source', 'target' or both, got \(\)"),
        ({"evaluate": ("target", "target")}, r"evaluate with 'source', 'target' or both, got \('target', 'target'\)"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ids(**options)


@pytest.mark.parametrize("lengths", [(0, 5), (5, 0)])
def test_empty_data_are_refused(lengths):
    with pytest.raises(ValueError, match="expected training samples of IdsModule, got none"):
        steps_of(ids(*lengths))


def test_the_trainer_is_passed_on():
    data = two_digits()
    trainer = make_trainer(None)
    trainer.datamodule = data
    data.trainer = trainer
    data.setup("fit")
    assert data.source.trainer is data.target.trainer is trainer
