"""Data sets on disk: layout, caching, and two processes at once."""

import logging
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from lightning_edge.samples.cache import cache_root, make_once
from lightning_edge.samples.camvid import sample_camvid
from lightning_edge.samples.cityscapes import sample_cityscapes
from lightning_edge.samples.world.frames import WORLD_VERSION
from lightning_edge.samples.world.labels import palette
from lightning_edge.samples.writing import run_jobs

SMALL = {"height": 48, "width": 96}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    return tmp_path


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def names(root, pattern):
    return sorted(str(path.relative_to(root)) for path in root.glob(pattern))


def test_cityscapes_layout(cache):
    root = sample_cityscapes(3, 2, **SMALL)
    for split, count in (("train", 3), ("val", 2)):
        labeled = names(root / "leftImg8bit" / split, "*/*_leftImg8bit.png")
        assert len(labeled) == count
        for name in labeled:
            stem = name.removesuffix("_leftImg8bit.png")
            city, sequence, frame = Path(stem).name.split("_")
            assert Path(stem).parent.name == city
            truth = root / "gtFine" / split
            labels = read(truth / f"{stem}_gtFine_labelIds.png")
            assert (labels.shape, labels.dtype) == ((48, 96), np.uint8)
            instances = read(truth / f"{stem}_gtFine_instanceIds.png")
            assert instances.dtype == np.uint16
            np.testing.assert_array_equal(np.where(instances >= 1000, instances // 1000, instances), labels)
            colors = read(truth / f"{stem}_gtFine_color.png")[..., ::-1]
            np.testing.assert_array_equal(colors, palette()[labels])
            snippet = names(root / "leftImg8bit_sequence" / split / city, f"{city}_{sequence}_*.png")
            first = int(frame) - 19
            assert snippet == [f"{city}_{sequence}_{first + i:06d}_leftImg8bit.png" for i in range(30)]
            inside = root / "leftImg8bit_sequence" / split / name
            np.testing.assert_array_equal(read(inside), read(root / "leftImg8bit" / split / name))
    assert not set(names(root / "gtFine/train", "*")) & set(names(root / "gtFine/val", "*"))


def test_labeled_frames_do_not_depend_on_sequences(cache):
    alone, among = (sample_cityscapes(1, 1, **SMALL, sequences=value) for value in (False, True))
    assert not (alone / "leftImg8bit_sequence").exists()
    for name in names(alone, "gtFine/*/*/*.png"):
        np.testing.assert_array_equal(read(alone / name), read(among / name))


def test_more_images_leave_the_first_as_they_are(cache):
    few, many = (sample_cityscapes(count, 1, **SMALL, sequences=False) for count in (1, 2))
    for name in names(few, "*/*/*/*.png"):
        np.testing.assert_array_equal(read(few / name), read(many / name))


def test_camvid_layout(cache):
    root = sample_camvid(3, 4, 2, 60, 80)
    for split, count in (("train", 3), ("val", 4), ("test", 2)):
        images = names(root / split, "*.png")
        assert len(images) == count
        assert images == names(root / f"{split}annot", "*.png")
        for name in images:
            assert read(root / split / name).shape == (60, 80, 3)
            assert read(root / f"{split}annot" / name).max() <= 11
    assert names(root / "val", "*.png") == [f"0016E5_{7959 + 2 * i:06d}.png" for i in range(4)]


def test_camvid_validation_is_one_clip(cache):
    root = sample_camvid(1, 4, 1, 60, 80)
    masks = [read(path) for path in sorted((root / "valannot").glob("*.png"))]
    agreement = [np.mean(a == b) for a, b in pairwise(masks)]
    assert min(agreement) > 0.8


def test_made_once_and_announced(cache, caplog, monkeypatch):
    monkeypatch.setattr("lightning_edge.samples.writing.REPORT_EVERY_S", float("inf"))  # however busy the machine is
    with caplog.at_level(logging.INFO, logger="lightning_edge"):
        first = sample_cityscapes(1, 1, **SMALL, sequences=False)
        announced = len(caplog.records)
        stamp = first.stat().st_mtime_ns
        assert sample_cityscapes(1, 1, **SMALL, sequences=False) == first
    assert announced == len(caplog.records) == 1
    assert f"version {WORLD_VERSION}" in caplog.text
    assert first.stat().st_mtime_ns == stamp
    assert first.parent == cache_root() == cache


def test_arguments_have_folders_of_their_own(cache):
    changes = ({}, {"domains": ("fog",)}, {"seed": 1})
    roots = {sample_cityscapes(1, 1, **SMALL, sequences=False, **change) for change in changes}
    assert len(roots) == 3


def test_an_interrupted_run_leaves_nothing(cache):
    def fail(folder):
        (folder / "half.png").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_once("broken", 1, {}, fail)
    assert not list(cache.iterdir())


def test_a_folder_that_lacks_a_file_is_made_again(cache, caplog):
    folder = sample_camvid(10, 10, 10, 32, 64)
    lost = next((folder / "valannot").iterdir())
    before = lost.read_bytes()
    lost.unlink()
    assert sample_camvid(10, 10, 10, 32, 64) == folder
    assert lost.read_bytes() == before
    assert f"files are missing in {folder}" in caplog.text


def test_what_killed_processes_left_is_removed_after_a_day(cache):
    folder = sample_camvid(10, 10, 10, 32, 64)
    shutil.rmtree(folder)
    old, new = (folder.parent / f".{folder.name}-{name}" for name in ("old", "new"))
    for aside in (old, new):
        aside.mkdir()
    os.utime(old, (0, 0))
    sample_camvid(10, 10, 10, 32, 64)
    assert (old.exists(), new.exists()) == (False, True)


def test_the_slower_of_two_uses_what_the_faster_made(cache):
    def slow(folder):
        place = make_once("raced", 1, {}, lambda inner: (inner / "file").write_text("first") and None)
        assert place.is_dir()
        (folder / "file").write_text("second")

    assert (make_once("raced", 1, {}, slow) / "file").read_text() == "first"
    assert len(list(cache.iterdir())) == 1


def test_two_processes_at_once(cache):
    script = (
        "from lightning_edge.samples.cityscapes import sample_cityscapes;"
        "print(sample_cityscapes(2, 1, 48, 96, sequences=False))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate()[0].decode().strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    assert [str(path) for path in cache.iterdir()] == outputs[:1]


def test_results_do_not_depend_on_processes(cache, monkeypatch):
    roots = []
    for few_jobs in (1, 100):
        monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(cache / str(few_jobs)))
        monkeypatch.setattr("lightning_edge.samples.writing.FEW_JOBS", few_jobs)
        roots.append(sample_cityscapes(2, 1, **SMALL, sequences=False))
    shared, single = roots
    assert names(shared, "**/*.png") == names(single, "**/*.png")
    for name in names(shared, "**/*.png"):
        np.testing.assert_array_equal(read(shared / name), read(single / name))


def test_a_failing_second_process_is_noticed():
    with pytest.raises(RuntimeError, match="expected the second process of numbers to end with 0, got 1"):
        run_jobs(abs, [0] + ["no number" if i % 2 else 0 for i in range(1, 12)], "numbers")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": 0}, "expected num_train of at least 1, got 0"),
        ({"num_val": -1}, "expected num_val of at least 1, got -1"),
        ({"height": 16}, "expected height of at least 32, got 16"),
        ({"seed": -1}, "expected seed of at least 0, got -1"),
        ({"domains": ("snow",)}, "expected domain to be one of .*, got 'snow'"),
    ],
)
def test_bad_arguments_write_nothing(cache, arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_cityscapes(**arguments)
    assert not list(cache.iterdir())


def test_camvid_refuses_bad_arguments(cache):
    with pytest.raises(ValueError, match="expected num_test of at least 1, got 0"):
        sample_camvid(num_test=0)


def test_camvid_drives_leave_a_gap_that_ends_clips(cache):
    root = sample_camvid(25, 1, 1, 48, 64)
    frames = sorted(int(path.stem[-6:]) for path in (root / "train").glob("0001TP_*"))
    assert len(frames) == 13
    assert [after - before for before, after in pairwise(frames)] == [30] * 9 + [330] + [30] * 2
    assert min(int(path.stem[-6:]) for path in (root / "test").glob("0001TP_*")) > frames[-1] + 30
