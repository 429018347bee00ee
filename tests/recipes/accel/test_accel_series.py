"""The commands that fit Accel several times and set the results side by side."""

import csv
from pathlib import Path

import pytest
import torch
from small_run import SMALL as SMALL_RUN

from recipes import accel
from recipes.accel.ablate import VARIANTS

SMALL = [
    *SMALL_RUN,
    "--model.max_interval=3",
    "--model.interval=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
JOINT = ["--model.branch_stage_fraction=0", "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"]


def weights(folder, part):
    state = torch.load(next(folder.rglob("last.ckpt")), weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith(part) and "num_batches" not in name}


def mious(folder):
    with next(folder.rglob("tradeoff.csv")).open() as file:
        return {f"{row['net']}_miou_n{row['interval']}": float(row["miou"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("split", [pytest.param("val", marks=pytest.mark.slow), "test"])
def test_repeat_averages_the_seeds(split, capsys):
    actual = accel.main(["repeat", "--num_seeds=2", f"--split={split}", *SMALL, *JOINT]).metrics
    folder = Path("runs/accel_repeat")
    suffix = "_test" if split == "test" else ""
    first, second = (mious(folder / f"seed_{seed}/accel{suffix}") for seed in (0, 1))
    assert first != second
    means = {name: (first[name] + second[name]) / 2 for name in first}
    rivals = [mious(folder / f"seed_{seed}/dff{suffix}") for seed in (0, 1)]
    means |= {f"trained_dff_miou_n{n}": sum(rival[f"accel_miou_n{n}"] for rival in rivals) / 2 for n in (1, 2, 3)}
    assert actual == pytest.approx(means)
    trained = weights(folder / "seed_0/dff", "net.")
    assert not any(name.startswith(("net.update", "net.fusion")) for name in trained)
    assert not same(weights(folder / "seed_0/dff", "net.reference"), weights(folder / "seed_0/accel", "net.reference"))
    assert (folder / "tradeoff.png").stat().st_size > 10_000
    assert "mean of 2 seeds" in capsys.readouterr().out


def ablate(variants):
    lengths = ["--num_seeds=1", "--first_epochs=1", "--second_epochs=1", "--interval=2"]
    long = ["-c", "long.yaml", *SMALL]
    actual = accel.main(["ablate", f"--variants={variants}", *lengths, *long]).metrics
    folder = Path("runs/accel_ablation/seed_0")
    assert actual == pytest.approx({f"{name}_miou": mious(folder / name)["accel_miou_n2"] for name in variants})
    return folder


def test_variants_begin_with_one_first_stage(capsys):
    folder = ablate(["features", "fusion_only"])
    branches = weights(folder / "first_stage", "net.update")
    assert same(branches, weights(folder / "fusion_only", "net.update"))
    assert not same(branches, weights(folder / "features", "net.update"))
    fusion = weights(folder / "features", "net.fusion.weight")["net.fusion.weight"]
    assert len(fusion) == 512  # channels of the reference's features, where scores would be 19
    assert "fusion_only" in capsys.readouterr().out


@pytest.mark.slow
def test_variants_of_the_losses_learn_other_weights():
    folder = ablate(["scores", "by_propagated", "distilled"])
    branches = weights(folder / "first_stage", "net.update")
    assert not same(branches, weights(folder / "first_stage_distilled", "net.update"))
    assert not same(*(weights(folder / name, "net.reference") for name in ("scores", "by_propagated")))


@pytest.mark.slow
def test_all_variants_run():
    lengths = ["--num_seeds=1", "--first_epochs=1", "--second_epochs=1", "--interval=2"]
    actual = accel.main(["ablate", *lengths, *SMALL]).metrics
    assert set(actual) == {f"{name}_miou" for name in VARIANTS}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_variant_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"expected variants among \['branches', .*got \['score'\]"):
        accel.main(["ablate", '--variants=["score"]', *SMALL])


@pytest.mark.parametrize("command", ["repeat", "ablate"])
def test_some_seeds_are_needed(command):
    with pytest.raises(ValueError, match="expected num_seeds of at least 1, got 0"):
        accel.main([command, "--num_seeds=0"])
