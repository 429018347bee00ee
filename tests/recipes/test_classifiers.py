"""What comes after a classifier's training, with all callbacks of its recipe."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from recipes import anodev2, shift

SMALL = ["--data.num_samples=[40,20]", "--data.batch_size=8", "--data.num_workers=0"]
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.mark.parametrize("main", [shift.main, anodev2.main], ids=["shift", "anodev2"])
def test_a_checkpoint_is_evaluated_and_predicts(main):
    main(["fit", *SMALL, *QUIET, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"])
    checkpoint = f"--ckpt_path={next(Path('runs').rglob('last.ckpt'))}"
    for stage, name in (("validate", "val"), ("test", "test")):
        actual = main([stage, *SMALL, *QUIET, checkpoint]).metrics
        assert 0 <= actual[f"{name}/accuracy"] <= 1
        assert actual[f"{name}/flops_per_sample"] > 0
    Path("pictures").mkdir()
    for number in range(3):
        cv2.imwrite(f"pictures/{number}.png", np.full((40 + number, 50, 3), 60 * number, np.uint8))
    frames = ["--data=FramesDataModule", "--data.source=pictures", "--data.size=[32,32]"]
    main(["predict", *QUIET, *frames, checkpoint])
    with next(Path("runs").rglob("predictions.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["0", "1", "2"]
    assert all(row["class_name"] for row in rows)
