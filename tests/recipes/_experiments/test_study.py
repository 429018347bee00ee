"""A study runs each variant once a seed, lets runs start from others, and continues where it was stopped."""

import json
from pathlib import Path

import pytest
import torch
from outside.parts import TinyMethod

from recipes._experiments.study import Study, Variant, choose_variants, with_evaluations

RECIPE = "outside.tiny"
SHORT = ("--trainer.max_epochs=1", "--trainer.logger=false")
VARIANTS = {
    "plain": Variant(),
    "scaled": Variant(("--model.scale=3",)),
    "after": Variant(("--model.optimizer.lr=1e-12",), starts_from="plain"),
    "plain_test": Variant((), "test", starts_from="plain"),
}


def weights(folder: Path, name: str = "weight") -> torch.Tensor:
    path = next(folder.rglob("*.ckpt"))
    return torch.load(path, weights_only=True)["state_dict"][f"net.linear.{name}"]


def test_variants_run_under_each_seed_and_start_where_another_ended(tmp_path):
    study = Study(RECIPE, VARIANTS, tmp_path, 2, SHORT)
    calls = []
    study.run(after_each=lambda: calls.append(len(study.metrics("plain"))))
    assert calls == [1, 1, 1, 1, 2, 2, 2, 2]  # all variants under one seed, then under the next
    first, second = (study.folder_of("plain", seed) for seed in (0, 1))
    assert not torch.equal(weights(first), weights(second))
    torch.testing.assert_close(weights(study.folder_of("after", 1)), weights(second), rtol=0, atol=1e-9)
    assert not torch.equal(weights(study.folder_of("scaled", 0)), weights(first))
    assert [set(metrics) for metrics in study.metrics("plain_test")] == [{"test/loss", "test/scale"}] * 2
    plan = json.loads((study.folder_of("scaled", 1) / "run.json").read_text())
    assert plan["arguments"][-3:] == ["--seed_everything=1", "--data.seed=1", "--model.scale=3"]


MONITOR = {"monitor": "val/loss", "mode": "max", "filename": "best"}
"""A loss that falls is best at the start."""
TWO_CHECKPOINTS = (
    "--trainer.max_epochs=3",
    "--trainer.logger=false",
    f"--trainer.callbacks+={{'class_path':'ModelCheckpoint','init_args':{MONITOR}}}",
)


def test_a_run_starts_from_the_checkpoint_that_is_named(tmp_path):
    variants = {
        "plain": Variant(),
        "newest_test": Variant((), "test", starts_from="plain"),
        "best_test": Variant((), "test", starts_from="plain", checkpoint="best"),
        "after": Variant(("--model.optimizer.lr=1e-12",), starts_from="plain", checkpoint="best"),
    }
    study = Study(RECIPE, variants, tmp_path, 1, TWO_CHECKPOINTS)
    study.run()
    folder = study.folder_of("plain", 0)
    saved = {
        path.stem: torch.load(path, weights_only=True)["state_dict"]["net.linear.weight"]
        for path in folder.rglob("*.ckpt")
    }
    assert {"best", "last"} <= set(saved)
    assert not torch.allclose(saved["best"], saved["last"])
    (newest,), (best,) = study.metrics("newest_test"), study.metrics("best_test")
    assert newest["test/loss"] < best["test/loss"]  # each of its own checkpoint
    after = study.folder_of("after", 0).rglob("last.ckpt")
    weight = torch.load(next(after), weights_only=True)["state_dict"]["net.linear.weight"]
    torch.testing.assert_close(weight, saved["best"], rtol=0, atol=1e-9)


def test_a_checkpoint_that_is_missing_is_named(tmp_path):
    variants = {"plain": Variant(), "test": Variant((), "test", starts_from="plain", checkpoint="bset")}
    with pytest.raises(FileNotFoundError, match=r"expected bset\.ckpt in .*plain for the run in .*test, got none"):
        Study(RECIPE, variants, tmp_path, 1, SHORT).run()


def test_a_run_that_starts_from_one_that_diverged_has_no_result(tmp_path):
    variants = {"plain": Variant(("--model.optimizer.lr=1e38",)), "test": Variant((), "test", starts_from="plain")}
    study = Study(RECIPE, variants, tmp_path, 1, (*SHORT, "--trainer.max_epochs=4"))
    study.run()
    assert torch.tensor(study.metrics("plain")[0]["train/loss"]).isnan()
    assert study.metrics("test") == [{}]


def test_runs_print_nothing(tmp_path, capsys):
    Study(RECIPE, VARIANTS, tmp_path, 1, SHORT).run()
    assert capsys.readouterr().out == ""


def test_a_stopped_study_continues(tmp_path, monkeypatch):
    variants = {name: VARIANTS[name] for name in ("plain", "scaled")}
    with monkeypatch.context() as patch:
        step = TinyMethod.training_step

        def stop_scaled(module, batch, batch_idx):
            if module.scale == 3:
                raise KeyboardInterrupt
            return step(module, batch, batch_idx)

        patch.setattr(TinyMethod, "training_step", stop_scaled)
        with pytest.raises(SystemExit, match="130"):
            Study(RECIPE, variants, tmp_path, 1, SHORT).run()
    marks = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("done.json")}
    assert [path.parent.name for path in marks] == ["plain"]
    study = Study(RECIPE, variants, tmp_path, 1, SHORT)
    study.run()
    assert len(study.metrics("scaled")) == 1
    assert all(path.stat().st_mtime_ns == mark for path, mark in marks.items())


def test_finished_runs_of_other_arguments_are_refused(tmp_path):
    variants = {"plain": Variant(), "plain_test": Variant((), "test", starts_from="plain")}
    Study(RECIPE, variants, tmp_path, 1, SHORT).run()
    Study(RECIPE, variants, tmp_path, 1, SHORT).run()  # the same ones are reused
    longer = ("--trainer.max_epochs=2", "--trainer.logger=false")
    message = r"expected .*seed_0/plain to have a run with \['--trainer.max_epochs=2'\], got one with .*max_epochs=1'\]"
    with pytest.raises(ValueError, match=message):
        Study(RECIPE, variants, tmp_path, 1, longer).run()
    changed = {"plain": Variant(("--model.scale=3",))}
    with pytest.raises(ValueError, match=r"to have a run with \['--model.scale=3'\], got one with others: repeat"):
        Study(RECIPE, changed, tmp_path, 1, SHORT).run()
    assert Study(RECIPE, variants, tmp_path, 1, longer).metrics("plain")  # nothing was lost


def test_parts_are_left_out_of_what_a_run_starts_from(tmp_path):
    without = Variant(("--model.optimizer.lr=1e-12",), starts_from="plain", reinitialized=("net.linear.weight",))
    study = Study(RECIPE, {"plain": VARIANTS["plain"], "without": without}, tmp_path, 1, SHORT)
    study.run()
    plain, without = (study.folder_of(name, 0) for name in ("plain", "without"))
    assert not torch.allclose(weights(plain), weights(without))
    torch.testing.assert_close(weights(plain, "bias"), weights(without, "bias"), rtol=0, atol=1e-9)


def test_each_fit_is_followed_by_its_test():
    runs = with_evaluations({"a": Variant(("--x=1",)), "b": Variant(command="validate")}, "test")
    assert runs == {
        "a": Variant(("--x=1",)),
        "a_test": Variant(("--x=1",), "test", "a"),
        "b": Variant(command="validate"),
    }
    assert list(with_evaluations({"a": Variant()}, "val")) == ["a"]


@pytest.mark.parametrize("names", [["plain", "palin"], []])
def test_variants_that_are_none_are_named(names):
    with pytest.raises(ValueError, match=r"expected variants among \['plain', .*got (\['palin'\]|none)"):
        choose_variants(VARIANTS, names)


def test_some_seeds_are_needed(tmp_path):
    with pytest.raises(ValueError, match="expected num_seeds of at least 1, got 0"):
        Study(RECIPE, VARIANTS, tmp_path, 0)
