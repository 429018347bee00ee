"""Source and target side by side: which samples are in which step, and which parts of them."""

import pickle
from collections import Counter

import pytest
import settings
import torch
from domain_pairs import IdsModule, Recorder, digits, fit, tiny_method
from lightning.pytorch.callbacks import BatchSizeFinder, ModelCheckpoint

from lightning_edge.data import AdaptationDataModule, RemappedDataModule
from recipes._cli.data_summary import DataSummary


def ids(source=26, target=9, batch_size=4, num_workers=0, **options):
    return AdaptationDataModule(
        *(IdsModule(count, batch_size=batch_size, num_workers=num_workers) for count in (source, target)), **options
    )


def steps_of(data, **options):
    module = Recorder()
    trainer = fit(module, data, **options)
    return module.steps, trainer


def indices(steps, side):
    return [index for step in steps for index, _ in step[side]]


SOURCE, TARGET = 0, 1


@pytest.mark.parametrize("lengths", [(26, 9), (9, 26)])
def test_an_epoch_is_one_pass_through_the_larger_data(lengths):
    steps, _ = steps_of(ids(*lengths), max_epochs=2)
    large, small = (SOURCE, TARGET) if lengths[0] == 26 else (TARGET, SOURCE)
    assert len(steps) == 12  # 26 // 4 in each epoch
    for epoch in (steps[:6], steps[6:]):
        assert max(Counter(indices(epoch, large)).values()) == 1
        passes = [indices(epoch, small)[start : start + 9] for start in (0, 9, 18)]
        assert [len(set(samples)) for samples in passes] == [9, 9, 6]
        assert passes[0] != passes[1], "each pass has a new order"
    assert indices(steps[:6], large) != indices(steps[6:], large)


def test_a_sample_that_recurs_in_an_epoch_has_another_seed():
    steps, _ = steps_of(ids(26, 5))
    samples = [tuple(sample) for step in steps for sample in step[TARGET]]
    assert len(samples) == 24
    assert len(set(samples)) == 24


def test_data_smaller_than_a_batch_are_repeated_in_it():
    steps, _ = steps_of(ids(8, 3))
    assert sorted(Counter(indices(steps, TARGET)).values()) == [2, 3, 3]
    assert len(set(indices(steps[:1], TARGET))) == 3


def test_both_smaller_than_a_batch_make_one_step():
    steps, _ = steps_of(ids(2, 3))
    assert len(steps) == 1


def test_batch_sizes_may_differ():
    data = AdaptationDataModule(IdsModule(26, batch_size=4), IdsModule(26, batch_size=2))
    steps, _ = steps_of(data)
    assert [(len(source), len(target)) for source, target in steps] == [(4, 2)] * 13
    assert max(Counter(indices(steps, TARGET)).values()) == 1


def test_equally_long_data_are_paired_in_new_ways():
    data = ids(24, 24)
    epochs = [steps_of(data, max_epochs=2)[0][start : start + 6] for start in (0, 6)]
    pairs = [set(zip(indices(epoch, SOURCE), indices(epoch, TARGET), strict=True)) for epoch in epochs]
    assert all(sum(source == target for source, target in of_epoch) < 6 for of_epoch in pairs)
    assert len(pairs[0] & pairs[1]) < 6


def test_the_seed_sets_both_orders():
    same = [steps_of(ids(24, 24, seed=seed))[0] for seed in (3, 3, 4)]
    assert same[0] == same[1]
    for side in (SOURCE, TARGET):
        assert indices(same[0], side) != indices(same[2], side)
        # neighboring seeds share no order, not even that of the other side
        assert indices(same[0], side) != indices(same[2], 1 - side)


def test_the_length_of_an_epoch_is_an_argument():
    steps, trainer = steps_of(ids(batches_per_epoch=9), max_epochs=2)
    assert len(steps) == 18
    assert trainer.num_training_batches == 9
    assert len(set(indices(steps[:9], SOURCE)[:26])) == 26


def test_accumulated_batches_fill_whole_steps():
    steps, trainer = steps_of(ids(), accumulate_grad_batches=4, max_epochs=2)
    assert len(steps) == 8
    assert trainer.global_step == 2
    steps, trainer = steps_of(ids(batches_per_epoch=8), accumulate_grad_batches=4)
    assert (len(steps), trainer.global_step) == (8, 2)
    with pytest.raises(ValueError, match=r"batches_per_epoch as a multiple of accumulate_grad_batches \(4\), got 6"):
        steps_of(ids(batches_per_epoch=6), accumulate_grad_batches=4)


@pytest.mark.parametrize("num_samples", [26, 30])
def test_all_classes_are_drawn_equally_often(num_samples):
    data = AdaptationDataModule(
        IdsModule(num_samples, batch_size=3), IdsModule(9, batch_size=3), balance_classes=True, batches_per_epoch=14
    )
    data.source.dataset("train").labels[:] = [0] * (num_samples - 3) + [1, 1, 2]
    data.target.dataset("train").labels[:] = [0] * 8 + [1]
    steps, _ = steps_of(data)
    labels = data.source.dataset("train").labels
    assert [sorted(labels[index] for index in indices([step], SOURCE)) for step in steps] == [[0, 1, 2]] * 14
    drawn = Counter(indices(steps, SOURCE))
    assert {drawn[index] for index in (num_samples - 3, num_samples - 2)} == {7}  # each of two, 14 rounds
    assert drawn[num_samples - 1] == 14
    assert max(drawn[index] for index in range(num_samples - 3)) == 1
    assert set(Counter(indices(steps, TARGET)).values()) == {4, 5}, "the labels of the target do not count"


def test_balanced_classes_come_in_random_order():
    data = AdaptationDataModule(IdsModule(30, batch_size=3), IdsModule(9), balance_classes=True, batches_per_epoch=20)
    steps, _ = steps_of(data)
    orders = {tuple(index % 3 for index in indices([step], SOURCE)) for step in steps}
    assert len(orders) > 3


def test_classes_of_masks_cannot_be_balanced():
    data = AdaptationDataModule(settings.make_camvid(), settings.make_camvid(), balance_classes=True)
    data.prepare_data()
    with pytest.raises(ValueError, match="one class for each sample for balance_classes=True, got a dataset of type"):
        data.train_dataloader()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_resumes_at_any_batch(num_workers, tmp_path):
    whole, _ = steps_of(ids(num_workers=num_workers), max_epochs=3)
    for step in (3, 6, 8) if num_workers == 0 else (8,):  # in an epoch, at its end, and in the second one
        folder = tmp_path / str(step)
        cut = Recorder(fails_at_step=step)
        checkpoint = ModelCheckpoint(folder, save_top_k=-1, filename="{step}", every_n_train_steps=1)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(cut, ids(num_workers=num_workers), checkpoint, max_epochs=3, enable_checkpointing=True)
        rest = Recorder()
        fit(rest, ids(num_workers=num_workers), ckpt_path=folder / f"step={step}.ckpt", max_epochs=3)
        assert rest.steps == whole[step:]


class Plans(Recorder):
    """Asks for the number of steps early, after which Lightning does not restore the positions of loaders."""

    def configure_optimizers(self):
        assert self.trainer.estimated_stepping_batches == 18
        return super().configure_optimizers()


def test_a_run_that_plans_its_steps_resumes_too(tmp_path):
    whole = Plans()
    checkpoint = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{step}", every_n_train_steps=1)
    fit(whole, ids(), checkpoint, max_epochs=3, enable_checkpointing=True)
    rest = Plans()
    fit(rest, ids(), ckpt_path=tmp_path / "step=8.ckpt", max_epochs=3)
    assert rest.steps == whole.steps[8:]


def test_a_run_with_accumulated_batches_resumes_within_an_epoch(tmp_path):
    options = {"accumulate_grad_batches": 2, "max_epochs": 2}
    whole, _ = steps_of(ids(), **options)
    checkpoint = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{step}", every_n_train_steps=1)
    fit(Recorder(), ids(), checkpoint, enable_checkpointing=True, **options)
    rest = Recorder()
    fit(rest, ids(), ckpt_path=tmp_path / "step=2.ckpt", **options)
    assert rest.steps == whole[4:]


def test_an_epoch_can_be_limited():
    whole, _ = steps_of(ids())
    assert steps_of(ids(), limit_train_batches=4)[0] == whole[:4]
    assert steps_of(ids(), limit_train_batches=0.5)[0] == whole[:3]


def test_some_batches_can_be_overfitted():
    steps, _ = steps_of(ids(26, 26), overfit_batches=2, max_epochs=2)
    assert len(steps) == 4
    assert [indices(steps[:2], side) for side in (SOURCE, TARGET)] == [
        indices(steps[2:], side) for side in (SOURCE, TARGET)
    ]


def test_a_larger_batch_size_is_found(tmp_path):
    data, module = ids(32, 6, batch_size=2), Recorder()
    fit(module, data, BatchSizeFinder(max_trials=3, steps_per_trial=1), folder=tmp_path)
    assert (data.batch_size, data.source.batch_size) == (8, 8)
    assert data.target.batch_size == 6, "at most the number of samples"
    assert [(len(source), len(target)) for source, target in module.steps[-4:]] == [(8, 6)] * 4


class Writer(Recorder):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_end(self):
        torch.save(self.steps, self.folder / f"{self.global_rank}.pt")


def test_two_processes_share_the_samples(tmp_path):
    fit(Writer(tmp_path), ids(24, 10, batch_size=2), devices=2, strategy="ddp_fork")
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    alone, _ = steps_of(ids(24, 10))
    assert len(alone) == 6
    for side in (SOURCE, TARGET):
        together = [sorted(first[side] + second[side]) for first, second in zip(*shares, strict=True)]
        assert together == [sorted(step[side]) for step in alone]


def test_copies_in_other_processes_start_without_a_batch():
    data = ids()
    fit(Recorder(), data)
    assert data.target_batch is not None
    for one in (data, data.source, data.target):
        one.trainer = None
    copy = pickle.loads(pickle.dumps(data))
    assert copy.target_batch is None
    assert copy.num_classes == 3
    copies, _ = steps_of(copy)
    assert copies == steps_of(ids())[0]


def test_batches_larger_than_the_data_keep_their_size_when_loaders_are_made_again():
    module = Recorder()
    data = AdaptationDataModule(IdsModule(32, batch_size=8), IdsModule(6, batch_size=8), batches_per_epoch=2)
    with pytest.warns(UserWarning, match=r"IdsModule \(8 samples\) has some of its 6 training samples several times"):
        fit(module, data, max_epochs=3, reload_dataloaders_every_n_epochs=1)
    assert [(len(source), len(target)) for source, target in module.steps] == [(8, 8)] * 6


def test_classes_are_balanced_after_they_are_remapped():
    parity = {str(digit): "odd" if digit % 2 or digit == 0 else "even" for digit in range(10)}
    sides = (RemappedDataModule(digits(name, batch_size=10), parity, ("odd", "even")) for name in ("mnist", "mnist_m"))
    data = AdaptationDataModule(*sides, balance_classes=True, batches_per_epoch=20)
    data.setup("fit")
    labels = torch.cat([data.on_after_batch_transfer(batch, 0)["label"] for batch, *_ in data.train_dataloader()])
    assert labels.bincount().tolist() == pytest.approx([100, 100], abs=3)


def test_a_training_says_how_many_samples_each_domain_has(caplog):
    data = AdaptationDataModule(digits("mnist"), digits("mnist_m"), batches_per_epoch=1)
    with caplog.at_level("INFO"):
        fit(tiny_method(), data, DataSummary(), limit_val_batches=1, num_sanity_val_steps=1)
    data.setup("fit")
    counts = [len(side.dataset("train")) for side in (data.source, data.target)]
    assert any(
        message.startswith("Training on {} source and {} target samples".format(*counts)) for message in caplog.messages
    )
