import json
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import CombinedLoader
from torch.utils._pytree import tree_map
from torch.utils.data import Dataset

from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.loading import ResumableLoader, SampleRequest, SeededSampler


class _Ids(Dataset[dict[str, int]]):
    """Gives back what it was asked for."""

    def __init__(self, num_samples: int = 26) -> None:
        self.num_samples = num_samples

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, item: SampleRequest | int) -> dict[str, int]:
        draw = item if isinstance(item, SampleRequest) else SampleRequest(item, 0, 0)
        return {"index": draw.index, "seed": draw.seed % 2**31, "batch_seed": draw.batch_seed % 2**31}


def _loader(
    num_samples: int = 26,
    batch_size: int = 4,
    num_workers: int = 0,
    num_replicas: int = 1,
    rank: int = 0,
    seed: int = 0,
) -> ResumableLoader:
    dataset = _Ids(num_samples)
    sampler = SeededSampler(dataset, batch_size, num_replicas, rank, seed)
    return ResumableLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )


def _batches(loader: ResumableLoader, epoch: int = 0) -> list[dict[str, list[int]]]:
    assert isinstance(loader.sampler, SeededSampler)
    loader.sampler.set_epoch(epoch)
    return [{key: value.tolist() for key, value in batch.items()} for batch in loader]


class _Recorder(LightningModule):
    """Writes down the samples of each step; may fail in the middle of an epoch."""

    def __init__(self, fails_at_step: int | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.fails_at_step = fails_at_step
        self.seen: list[Any] = []

    def training_step(self, batch: Any) -> torch.Tensor:
        if self.global_step == self.fails_at_step:
            raise RuntimeError("power cut")
        self.seen.append(tree_map(lambda value: value.tolist(), batch))
        return self.layer(torch.ones(1)).sum()

    def validation_step(self, batch: Any) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def _fit(folder: Path, loader: Any, module: _Recorder, ckpt_path: Path | None = None, **trainer: Any) -> list[Any]:
    checkpoint = ModelCheckpoint(folder, save_top_k=-1, filename="{step}", every_n_train_steps=1)
    options: dict[str, Any] = {"max_epochs": 3, "callbacks": [checkpoint], **trainer}
    options |= {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(**options).fit(module, loader, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return module.seen


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("step", [3, 6, 8])  # in the first epoch, at its end and in the second
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, num_workers: int, step: int):
    whole = _fit(tmp_path / "whole", _loader(num_workers=num_workers), _Recorder())
    with pytest.raises(RuntimeError, match="power cut"):
        _fit(tmp_path / "cut", _loader(num_workers=num_workers), _Recorder(fails_at_step=step))
    rest = _fit(tmp_path, _loader(num_workers=num_workers), _Recorder(), tmp_path / "cut" / f"step={step}.ckpt")
    assert len(whole) == 18
    assert rest == whole[step:]


def test_resume_after_a_validation_at_the_end_of_an_epoch(tmp_path: Path):
    whole = _fit(tmp_path / "whole", _loader(), _Recorder())
    validated = ModelCheckpoint(tmp_path / "cut", filename="{epoch}", every_n_epochs=1, save_top_k=-1)
    with pytest.raises(RuntimeError, match="power cut"):
        Trainer(max_epochs=3, accelerator="cpu", logger=False, callbacks=[validated], enable_progress_bar=False).fit(
            _Recorder(fails_at_step=8), _loader(), torch.utils.data.DataLoader(_Ids(2))
        )
    rest = _fit(tmp_path, _loader(), _Recorder(), tmp_path / "cut" / "epoch=0.ckpt")
    assert rest == whole[6:]


def test_resume_with_a_limit_of_steps(tmp_path: Path):
    whole = _fit(tmp_path / "whole", _loader(), _Recorder(), max_steps=15, max_epochs=-1)
    rest = _fit(tmp_path, _loader(), _Recorder(), tmp_path / "whole" / "step=8.ckpt", max_steps=15, max_epochs=-1)
    assert rest == whole[8:]


def test_two_loaders_of_different_lengths_resume(tmp_path: Path):
    def loaders() -> CombinedLoader:
        return CombinedLoader({"source": _loader(26), "target": _loader(9)}, "max_size_cycle")

    whole = _fit(tmp_path / "whole", loaders(), _Recorder(), max_epochs=2)
    rest = _fit(tmp_path, loaders(), _Recorder(), tmp_path / "whole" / "step=3.ckpt", max_epochs=2)
    assert rest == whole[3:]
    targets = [step["target"]["index"] for step in whole[:6]]
    assert targets[0:2] != targets[2:4], "the shorter loader starts over in a new order"


def test_the_first_epoch_after_a_finished_one_is_a_new_order():
    loader = _loader()
    assert _batches(loader, 0) != _batches(loader, 1)


def test_an_abandoned_pass_starts_over_with_the_same_samples():
    loader = _loader()
    first = next(iter(loader))
    assert torch.equal(next(iter(loader))["index"], first["index"])


def test_workers_do_not_change_samples():
    without, with_two = _loader(), _loader(num_workers=2)
    for epoch in range(2):
        assert _batches(without, epoch) == _batches(with_two, epoch)


def test_seeds_are_of_sample_epoch_and_seed_alone():
    def seeds(loader: ResumableLoader, epoch: int) -> dict[int, int]:
        return {i: s for batch in _batches(loader, epoch) for i, s in zip(batch["index"], batch["seed"], strict=True)}

    assert seeds(_loader(batch_size=2), 1) == seeds(_loader(batch_size=13), 1)
    first = seeds(_loader(batch_size=2), 0)
    assert len(set(first.values())) == 26
    assert not set(first.values()) & set(seeds(_loader(batch_size=2), 1).values())
    assert not set(first.values()) & set(seeds(_loader(batch_size=2, seed=1), 0).values())


@pytest.mark.parametrize(("epoch", "cycle", "start"), [(0, 0, 0), (3, 1, 8)])
def test_a_sampler_draws_as_numpy_does_for_one_sample_after_another(epoch: int, cycle: int, start: int):
    def mix(purpose: int, value: int) -> int:
        entropy = (seed, epoch, cycle, purpose, value)
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])

    num_samples, batch_size, num_replicas, accumulate, seed = 50, 2, 3, 2, 2**40 + 5
    order = np.random.default_rng(mix(1, 0)).permutation(num_samples).tolist()
    num_left = (
        (num_samples - start) // (batch_size * num_replicas * accumulate) * batch_size * num_replicas * accumulate
    )
    for rank in range(num_replicas):
        sampler = SeededSampler(_Ids(num_samples), batch_size, num_replicas, rank, seed, accumulate)
        sampler.set_epoch(epoch)
        sampler.cycle, sampler.start = cycle, start
        expected = []
        for position in range(rank, num_left, num_replicas):
            index, begin = order[start + position], start + position - position % (batch_size * num_replicas)
            expected.append(SampleRequest(index, mix(2, index), mix(3, begin)))
        assert list(sampler) == expected


def test_processes_share_each_batch_without_overlap():
    alone = _batches(_loader(batch_size=8))
    shares = [_batches(_loader(batch_size=4, num_replicas=2, rank=rank)) for rank in range(2)]
    assert [len(share) for share in shares] == [3, 3]
    for whole, first, second in zip(alone, *shares, strict=True):
        assert sorted(first["index"] + second["index"]) == sorted(whole["index"])
        assert set(first["batch_seed"]) == set(second["batch_seed"]) == set(whole["batch_seed"])


def test_processes_together_see_everything():
    shares = [_batches(_loader(24, num_replicas=2, rank=rank)) for rank in range(2)]
    seen = [index for share in shares for batch in share for index in batch["index"]]
    assert sorted(seen) == list(range(24))


def test_batches_have_one_seed_each():
    batch_seeds = [set(batch["batch_seed"]) for batch in _batches(_loader())]
    assert all(len(seeds) == 1 for seeds in batch_seeds)
    assert len(set.union(*batch_seeds)) == len(batch_seeds)


def test_resume_with_another_batch_size_sees_the_rest():
    before = _loader(24, batch_size=4)
    iterator = iter(before)
    seen = [index for _ in range(3) for index in next(iterator)["index"].tolist()]
    after = _loader(24, batch_size=6)
    after.load_state_dict(before.state_dict())
    rest = _batches(after)
    assert sorted(seen + [index for batch in rest for index in batch["index"]]) == list(range(24))
    assert all(len(set(batch["batch_seed"])) == 1 for batch in rest)


def test_a_state_counts_received_batches_only():
    loader = _loader(num_workers=2)
    iterator = iter(loader)
    next(iterator)
    assert loader.state_dict() == {"epoch": 0, "cycle": 0, "samples": 4}


def test_overfit_batches_keeps_working(tmp_path: Path):
    seen = _fit(tmp_path, _loader(), _Recorder(), overfit_batches=1, max_epochs=2)
    assert seen[0] == seen[1]


def test_too_few_samples():
    with pytest.raises(ValueError, match=r"batch_size x processes \(8\).*training samples \(5\)"):
        SeededSampler(_Ids(5), 4, num_replicas=2)


class _Writer(_Recorder):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_end(self) -> None:
        (self.folder / f"{self.global_rank}.json").write_text(json.dumps(self.seen))


class _IdBatch(TypedDict):
    index: torch.Tensor
    seed: torch.Tensor
    batch_seed: torch.Tensor


class _IdsModule(EdgeDataModule):
    batch_type = _IdBatch

    def make_dataset(self, split: Split) -> _Ids:
        return _Ids(24)


def test_lightning_with_two_processes_leaves_the_sampler_alone(tmp_path: Path):
    data, module = _IdsModule(batch_size=3, num_workers=0), _Writer(tmp_path)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    seen = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    alone = _batches(_loader(24, batch_size=6))
    for whole, first, second in zip(alone, *seen, strict=True):
        assert sorted(first["index"] + second["index"]) == sorted(whole["index"])


def test_an_epoch_ends_with_a_whole_step_of_accumulated_batches(tmp_path: Path):
    """Lightning would divide the gradients of what is left by as many batches as a whole step has."""

    class Data(EdgeDataModule):
        class Batch(TypedDict):
            index: int

        batch_type = Batch

        def make_dataset(self, split: Split) -> Dataset[Any]:
            return _Ids(26)

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch

    module = _Recorder()
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=2, accumulate_grad_batches=4, default_root_dir=tmp_path, **options)
    trainer.fit(module, Data(batch_size=4, num_workers=0))
    assert len(module.seen) == 8  # four of the six batches in an epoch
    assert trainer.global_step == 2


@pytest.mark.parametrize("num_samples", [22, 24, 26])
def test_a_position_within_a_step_leaves_the_rest_of_the_epoch(num_samples: int):
    """Four steps, each of three batches of two samples, with and without samples that make no further step."""
    sampler = SeededSampler(_Ids(num_samples), 2, accumulate=3)
    num_used = num_samples // 6 * 6
    left = [sampler.num_left(start) for start in range(0, num_used + 1, 2)]
    assert left == list(range(num_used, -1, -2))
    whole = [draw.index for draw in sampler]
    for start in range(0, num_used + 1, 2):
        sampler.start = start
        assert [draw.index for draw in sampler] == whole[start:]


def test_too_few_samples_for_a_step_are_named():
    with pytest.raises(
        ValueError, match=r"batch_size x processes x accumulate_grad_batches \(32\) of at most .* \(26\)"
    ):
        SeededSampler(_Ids(26), 4, 2, accumulate=4)
