import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor, nn
from toys import ToyImages, make_trainer
from wandb_offline import read_offline_run

from callbacks import DomainTable

HEAD = ["epoch", "step", "metric", "domain", "value"]


class Domains(ToyImages):
    domain_names = ("day", "dawn/dusk clear", "clear")


class Scored(LightningModule):
    """Scores that tell the epoch: 0.25 more with each."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight * batch["image"].mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        self.log_scores("val")

    def on_test_epoch_end(self) -> None:
        self.log_scores("test")

    def log_scores(self, stage: str) -> None:
        value = 0.25 * self.current_epoch
        self.log_dict(
            {
                f"{stage}/ap50": 0.5,  # of no domain
                f"{stage}/ap50_car": 0.5,
                f"{stage}/ap50_dawn_dusk_clear": value + 1,
                f"{stage}/ap50_day": value,
                f"{stage}/accuracy_day": value + 2,
                "other_day": 0.5,
            }
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def rows_of_epoch(epoch: int, step: int) -> list[list[str]]:
    value = 0.25 * epoch
    scores = [
        ["accuracy", "day", str(value + 2)],
        ["ap50", "day", str(value)],
        ["ap50", "dawn/dusk clear", str(value + 1)],
    ]
    return [[str(epoch), str(step), *score] for score in scores]


def test_every_validation_of_a_training_adds_its_rows(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, callbacks=[DomainTable()], max_epochs=2, num_sanity_val_steps=1)
    trainer.fit(Scored(), Domains())
    rows = rows_of(tmp_path / "domains_val.csv")
    assert rows == [HEAD, *rows_of_epoch(0, 2), *rows_of_epoch(1, 4)]
    assert not (tmp_path / "domains_test.csv").exists()


def test_a_domain_named_like_a_formula_is_text(tmp_path: Path) -> None:
    data = Domains()
    data.domain_names = ("=day",)
    make_trainer(tmp_path, callbacks=[DomainTable()]).fit(Scored(), data)
    assert [row[3] for row in rows_of(tmp_path / "domains_val.csv")] == ["domain", "'=day", "'=day"]


def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path / "kept", save_last=True)
    first = make_trainer(tmp_path, callbacks=[DomainTable(), keep], enable_checkpointing=True)
    first.fit(Scored(), Domains())
    second = make_trainer(tmp_path, callbacks=[DomainTable()], max_epochs=2)
    second.fit(Scored(), Domains(), ckpt_path=tmp_path / "kept/last.ckpt")
    rows = rows_of(tmp_path / "domains_val.csv")
    assert rows == [HEAD, *rows_of_epoch(0, 2), *rows_of_epoch(1, 4)]


def test_a_test_has_a_table_of_its_own(tmp_path: Path) -> None:
    make_trainer(tmp_path, callbacks=[DomainTable()]).test(Scored(), Domains(), verbose=False)
    assert rows_of(tmp_path / "domains_test.csv") == [HEAD, *rows_of_epoch(0, 0)]
    assert not (tmp_path / "domains_val.csv").exists()


@pytest.mark.parametrize("names", [None, (), ("snow",)])
def test_without_domains_nothing_is_written(tmp_path: Path, names: Any) -> None:
    data = Domains()
    data.domain_names = names
    make_trainer(tmp_path, callbacks=[DomainTable()]).fit(Scored(), data)
    make_trainer(tmp_path, callbacks=[DomainTable()]).test(Scored(), ToyImages(), verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_fast_dev_run_leaves_nothing(tmp_path: Path) -> None:
    make_trainer(tmp_path, callbacks=[DomainTable()], fast_dev_run=True).fit(Scored(), Domains())
    assert list(tmp_path.iterdir()) == []


def test_two_processes_write_once(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, callbacks=[DomainTable()], strategy="ddp_fork", devices=2)
    trainer.fit(Scored(), Domains())
    assert rows_of(tmp_path / "domains_val.csv") == [HEAD, *rows_of_epoch(0, 1)]


def test_wandb_has_the_table_of_the_last_validation_and_of_the_test(tmp_path: Path) -> None:
    logger = WandbLogger(project="domains", save_dir=tmp_path, offline=True)
    trainer = make_trainer(tmp_path, callbacks=[DomainTable()], logger=logger, max_epochs=2)
    trainer.fit(Scored(), Domains())
    trainer.test(Scored(), Domains(), verbose=False)
    wandb.finish()

    run = read_offline_run(tmp_path)
    for stage, epoch in (("val", 1), ("test", trainer.current_epoch)):
        (path,) = run.column(f"{stage}/domains/path")
        table = json.loads((run.files / path).read_text())
        assert table["columns"] == ["domain", "metric", "value"]
        expected = [[domain, metric, float(value)] for _, _, metric, domain, value in rows_of_epoch(epoch, 0)]
        assert table["data"] == expected


def test_wandb_has_the_table_of_a_validation_by_itself(tmp_path: Path) -> None:
    logger = WandbLogger(project="domains", save_dir=tmp_path, offline=True)
    trainer = make_trainer(tmp_path, callbacks=[DomainTable()], logger=logger)
    trainer.validate(Scored(), Domains(), verbose=False)
    wandb.finish()
    assert len(read_offline_run(tmp_path).column("val/domains/nrows")) == 1
