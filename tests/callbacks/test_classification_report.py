"""A net that answers with the brightness of an image makes every mistake predictable."""

from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from matplotlib.axes import Axes
from matplotlib.image import imread
from texts_in_figures import beyond_the_edge, drawn_texts, overlapping
from torch.utils.data import DataLoader
from wandb_offline import read_offline_run

from callbacks.classification_report import ClassificationReport, _Mistake, draw_report

NAMES = ("dark", "gray", "bright")


class Brightness(LightningModule):
    """The surer of a third of the range, the higher the red in it."""

    def __init__(self):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.zeros(()))

    def forward(self, image):
        third = (3 * image[:, 0, 0, 0]).long().clamp(max=2)
        return torch.nn.functional.one_hot(third, 3) * (1 + image[:, :1, 0, 0]) + self.offset

    def training_step(self, batch, batch_idx):
        return self(batch["image"]).mean()

    def validation_step(self, batch, batch_idx):
        return self(batch["image"])

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Images(LightningDataModule):
    class_names = NAMES

    def __init__(self, reds, labels, batch_size=2):
        super().__init__()
        images = torch.tensor(reds)[:, None, None, None].expand(-1, 3, 4, 4)
        self.samples = [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(self.samples, self.batch_size)

    val_dataloader = test_dataloader = train_dataloader


@pytest.fixture
def drawn(monkeypatch):
    """What was drawn: confusion, names and mistakes."""
    from callbacks import classification_report

    calls, draw = [], classification_report.draw_report
    monkeypatch.setattr(
        classification_report, "draw_report", lambda *arguments: (calls.append(arguments), draw(*arguments))[1]
    )
    return calls


REDS = [0.1, 0.2, 0.5, 0.6, 0.7, 0.9, 1.0]
LABELS = [0, 1, 1, 0, 2, 0, 1]  # wrong: the second, the fourth and the last two, these the most sure


def make_trainer(folder: Path, *callbacks, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {"accelerator": "cpu", "default_root_dir": folder, "logger": False, "log_every_n_steps": 1} | options
    return Trainer(callbacks=list(callbacks), **quiet, **options)


def test_classes_are_counted_and_the_surest_mistakes_kept(tmp_path, drawn):
    report = ClassificationReport(num_images=3)
    make_trainer(tmp_path, report).test(Brightness(), Images(REDS, LABELS), verbose=False)
    ((confusion, names, mistakes, _),) = drawn
    assert np.array_equal(confusion, [[1, 1, 1], [1, 1, 1], [0, 0, 1]])
    assert names == list(NAMES)
    assert [(mistake.prediction, mistake.label) for mistake in mistakes] == [(2, 1), (2, 0), (1, 0)]
    assert [mistake.image[0, 0, 0] for mistake in mistakes] == [255, 230, 153]
    expected = torch.tensor([[0, 0, 2.0], [0, 0, 1.9], [0, 1.6, 0]]).softmax(1).max(1).values
    assert [mistake.confidence for mistake in mistakes] == pytest.approx(expected.tolist())
    assert (tmp_path / "figures/classes_test_epoch_000.png").stat().st_size > 10_000


def test_images_of_one_channel_are_gray_and_their_domains_are_named(tmp_path, drawn):
    data = Images([0.2, 0.4], [2, 2])
    for domain, sample in enumerate(data.samples):
        sample["image"] = sample["image"][:1]
        sample["domain"] = 1 - domain
    data.domain_names = ("day", "night")
    make_trainer(tmp_path, ClassificationReport()).test(Brightness(), data, verbose=False)
    first, second = drawn[0][2]
    assert (first.image == 102).all()
    assert (second.image == 51).all()
    assert first.image.shape == (4, 4, 3)
    assert (first.domain, second.domain) == ("day", "night")
    picture = imread(tmp_path / "figures/classes_test_epoch_000.png")[..., :3]
    right = picture[:, picture.shape[1] // 2 :]
    assert np.allclose(right, right[..., :1])  # nothing but gray, beside the blue of the matrix


def test_without_names_of_domains_there_are_none(tmp_path, drawn):
    data = Images([0.2, 0.4], [2, 2])
    for sample in data.samples:
        sample["domain"] = 0
    make_trainer(tmp_path, ClassificationReport()).test(Brightness(), data, verbose=False)
    assert [mistake.domain for mistake in drawn[0][2]] == ["", ""]


def test_no_text_lies_on_another(monkeypatch):
    image = np.full((32, 32, 3), 200, np.uint8)
    names = [f"lion tamarin number {index}" for index in range(25)]
    mistakes = [_Mistake(1.0, index % 25, (index + 1) % 25, image, "dawn/dusk partly cloudy") for index in range(45)]
    figure = draw_report(np.full((25, 25), 100), names, mistakes, 45)
    texts = drawn_texts(figure, monkeypatch, dpi=120)
    shown = [text.get_text() for text in texts]
    assert shown.count("lion tamarin numb… (100%)\nnot lion tamarin numb…\ndawn/dusk partly cloudy") == 45
    assert overlapping(texts) == []
    assert beyond_the_edge(figure, texts) == []
    heights_px = [axes.bbox.height for axes in figure.findobj(Axes) if axes.images]
    assert len(heights_px) == 1 + 45
    assert min(heights_px) > 0.8 * 120  # inches: images remain large enough to see


def test_of_many_mistakes_in_a_batch_the_surest_are_kept(tmp_path, drawn):
    report, data = ClassificationReport(num_images=2), Images(REDS, LABELS, batch_size=7)
    make_trainer(tmp_path, report).test(Brightness(), data, verbose=False)
    assert [(mistake.prediction, mistake.label) for mistake in drawn[0][2]] == [(2, 1), (2, 0)]


def test_pictures_follow_the_epochs_and_each_counts_anew(tmp_path, drawn):
    trainer = make_trainer(tmp_path, ClassificationReport(every_n_epochs=2), max_epochs=4, num_sanity_val_steps=2)
    trainer.fit(Brightness(), Images(REDS, LABELS))
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["classes_val_epoch_001.png", "classes_val_epoch_003.png"]
    assert [confusion.sum() for confusion, *_ in drawn] == [7, 7]


def test_right_answers_and_many_classes_are_drawn(tmp_path):
    class Hundred(Brightness):
        def validation_step(self, batch, batch_idx):
            return torch.nn.functional.one_hot(batch["label"], 100).float()

    make_trainer(tmp_path, ClassificationReport()).validate(Hundred(), Images(REDS, LABELS), verbose=False)
    assert (tmp_path / "figures/classes_val_epoch_000.png").exists()


def test_two_processes_count_together(tmp_path, monkeypatch):
    from callbacks import classification_report

    draw = classification_report.draw_report

    def noting(confusion, *arguments):
        (tmp_path / "count.txt").write_text(str(confusion.sum()))
        return draw(confusion, *arguments)

    monkeypatch.setattr(classification_report, "draw_report", noting)  # the processes are forks of this one
    options = {"strategy": "ddp_fork", "devices": 2, "precision": "bf16-mixed", "max_epochs": 1}
    trainer = make_trainer(tmp_path, ClassificationReport(), **options)
    trainer.fit(Brightness(), Images([*REDS, 0.3], [*LABELS, 0], batch_size=1))
    assert (tmp_path / "count.txt").read_text() == "8"


def test_more_names_than_classes_do_no_harm(tmp_path, drawn):
    data = Images(REDS, LABELS)
    data.class_names = (*NAMES, "none")
    make_trainer(tmp_path, ClassificationReport()).test(Brightness(), data, verbose=False)
    assert drawn[0][1] == list(NAMES)


def test_the_last_epoch_is_shown_whatever_its_number(tmp_path):
    make_trainer(tmp_path, ClassificationReport(every_n_epochs=2), max_epochs=3).fit(Brightness(), Images(REDS, LABELS))
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["classes_val_epoch_001.png", "classes_val_epoch_002.png"]


def test_an_offline_run_of_wandb_holds_the_picture(tmp_path):
    logger = WandbLogger(project="classes", save_dir=tmp_path, offline=True)
    make_trainer(tmp_path, ClassificationReport(), logger=logger).test(
        Brightness(), Images(REDS, LABELS), verbose=False
    )
    wandb.finish()
    assert read_offline_run(tmp_path).column("test/classes/count") == [1]


@pytest.mark.parametrize(
    ("samples", "step", "message"),
    [
        ([{"image": torch.zeros(3, 2, 2), "mask": 1}], None, r"got \['image', 'mask'\]"),
        ([{"image": torch.zeros(3, 2, 2), "label": 1}], lambda *_: None, r"logits \[1, classes\], got NoneType"),
        (
            [{"image": torch.zeros(3, 2, 2), "label": 1}],
            lambda *_: torch.zeros(3),
            r"logits \[1, classes\], got \(3,\)",
        ),
    ],
)
def test_other_batches_and_modules_are_refused(tmp_path, samples, step, message):
    module = Brightness()
    if step is not None:
        module.test_step = step
    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path, ClassificationReport()).test(module, DataLoader(samples), verbose=False)


@pytest.mark.parametrize("arguments", [{"num_images": 0}, {"every_n_epochs": 0}])
def test_arguments_are_checked(arguments):
    with pytest.raises(ValueError, match="expected num_images and every_n_epochs of at least 1"):
        ClassificationReport(**arguments)


def test_batches_may_be_pairs(tmp_path):
    class OfPairs(Brightness):
        def validation_step(self, batch, batch_idx):
            return self(batch[0])

    images, labels = torch.full((4, 3, 8, 8), 0.1), torch.tensor([0, 0, 0, 2])
    loader = DataLoader(list(zip(images, labels, strict=True)), batch_size=2)
    report = ClassificationReport()
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, callbacks=[report])
    trainer.validate(OfPairs(), loader)
    assert report._confusion.compute().tolist() == [[3, 0, 0], [0, 0, 0], [1, 0, 0]]
