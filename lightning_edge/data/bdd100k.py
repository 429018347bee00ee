"""BDD100K: 100,000 street scenes in the USA in varied light and weather, with boxes of 10 classes.

Source: Yu et al., *BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning*, CVPR 2020,
arXiv:1805.04687.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from lightning_edge.checks import check_names, check_pair
from lightning_edge.contracts import LabeledSplit
from lightning_edge.data.detection import DetectionDataModule, LabeledImage
from lightning_edge.data.domains.embeddings import DomainEmbedding
from lightning_edge.data.domains.partitions import ByAttributes, ImageRecord, Partition
from lightning_edge.data.files import names_in
from lightning_edge.data.formats.bdd100k import CLASS_NAMES, SOURCE, VOCABULARY, LabeledFrame, read_labels
from lightning_edge.data.images.augmentation import Transform
from lightning_edge.data.shown import shown_name
from lightning_edge.ops.cityscapes_labels import TRAIN_LABELS
from lightning_edge.samples.bdd100k import LIGHT_AND_WEATHER, sample_bdd100k
from lightning_edge.samples.world.frames import TEST_SEED

_COLORS = {label.name.replace("person", "pedestrian"): label.color for label in TRAIN_LABELS}


class BDD100KDataModule(DetectionDataModule):
    """Images of BDD100K with boxes of 10 classes, and with domains by light, weather and surroundings.

    ``root`` contains ``images/100k/{train,val}`` and the labels. The labels are either
    ``labels/det_20/det_{train,val}.json`` of 2020, which is preferred, or
    ``labels/bdd100k_labels_images_{train,val}.json`` of 2018. Categories are mapped as in the official evaluation:
    other persons, other vehicles, trailers and crowds are ignored. The official evaluation takes x2 and y2 as the last
    pixels inside a box (``box2d_to_bbox`` of https://github.com/scalabel/scalabel, label/transforms.py), and so does
    the evaluation here. The labels of the test split are not public, so the test loader serves the validation split.
    For generated data it serves as many other scenes, which are generated on first use.

    Args:
        root: Folder of the data set. If ``None``, small generated scenes in the same layout are used.
        partition: Assigns each image to a domain; one domain for each time of day and weather if ``None``.
        embedding: Describes a domain by a vector; ``OneHotEmbedding()`` if ``None``.
        keep_attributes: Keeps only images with the given values of some attributes, such as
            ``{"timeofday": ("night",)}``.
        input_size: Height and width of all images in batches, in pixels.
        train_transform: See :class:`~lightning_edge.data.detection.DetectionDataModule`.
        num_samples: Numbers of generated images for training and for evaluation; the test split has as many as the
            validation split.
        sample_size: Height and width of generated images, in pixels.
        sample_domains: Names of the light and weather conditions of generated images.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

    Raises:
        ValueError: An argument is out of range.
    """

    num_classes = len(CLASS_NAMES)
    class_names = CLASS_NAMES
    palette = tuple(_COLORS[name] for name in CLASS_NAMES)
    vocabulary = VOCABULARY
    has_inclusive_edges = True

    def __init__(
        self,
        root: str | Path | None = None,
        partition: Partition | None = None,
        embedding: DomainEmbedding | None = None,
        keep_attributes: Mapping[str, Sequence[str]] | None = None,
        input_size: tuple[int, int] = (144, 256),
        train_transform: Transform | None = None,
        num_samples: tuple[int, int] = (600, 200),
        sample_size: tuple[int, int] = (144, 256),
        sample_domains: tuple[str, ...] = tuple(LIGHT_AND_WEATHER),
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        partition = ByAttributes(("timeofday", "weather")) if partition is None else partition
        super().__init__(
            input_size,
            train_transform,
            partition,
            embedding,
            keep_attributes,
            batch_size,
            eval_batch_size,
            num_workers,
            seed,
        )
        check_pair(num_samples=num_samples, sample_size=sample_size)
        check_names(sample_domains=sample_domains)
        self.root = root
        self.num_samples = num_samples
        self.sample_size = sample_size
        self.sample_domains = tuple(sample_domains)
        self._images: dict[str, list[LabeledImage]] = {}

    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        self._folder()

    @override
    def labeled_images(self, split: LabeledSplit) -> list[LabeledImage]:
        """Images of a split with their boxes, in the order of the file of labels."""
        if self.root is not None and split == "test":
            split = "val"
        if split not in self._images:
            self._images[split] = self._read(split)
        return self._images[split]

    def _read(self, split: LabeledSplit) -> list[LabeledImage]:
        root, part = self._folder(split), "train" if split == "train" else "val"
        labels, folder = _labels_file(root, part), root / "images/100k" / part
        frames = read_labels(labels)
        kept = [frame for frame in frames if self.is_wanted(frame.attributes)]
        if not kept:
            wanted = f" with keep_attributes={self.keep_attributes}" if self.keep_attributes else ""
            raise ValueError(f"{labels}: expected images, got none of {len(frames)}{wanted}")
        _check_files(folder, labels, kept, frames)
        return [LabeledImage(folder / frame.name, ImageRecord(*frame[:2]), *frame[2:]) for frame in kept]

    def _folder(self, split: LabeledSplit = "train") -> Path:
        if self.root is not None:
            return Path(self.root).expanduser()
        (num_train, num_val), (height, width) = self.num_samples, self.sample_size
        # the test scenes are the validation split of a separate data set
        num_train, seed = (1, TEST_SEED) if split == "test" else (num_train, 0)
        return sample_bdd100k(num_train, num_val, height, width, self.sample_domains, seed)


def _labels_file(root: Path, split: str) -> Path:
    places = (root / f"labels/det_20/det_{split}.json", root / f"labels/bdd100k_labels_images_{split}.json")
    for place in places:
        if place.name in names_in(place.parent):
            return place
    raise FileNotFoundError(
        f"expected labels of the {split} split as {places[0]} or {places[1]}, got neither: download the labels from "
        f"{SOURCE} and unpack them in root"
    )


def _check_files(folder: Path, labels: Path, kept: Sequence[LabeledFrame], frames: Sequence[LabeledFrame]) -> None:
    """Raise an error if images are missing, and warn of images without labels."""
    there = names_in(folder)
    missing = [frame.name for frame in kept if frame.name not in there]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(kept)} images of {labels} are missing in {folder}, the first is "
            f"{shown_name(missing[0])}: download bdd100k_images_100k.zip from {SOURCE} and unpack it in root"
        )
    images = {name for name in there if name.endswith(".jpg") and not name.startswith(".")}
    others = sorted(images - {frame.name for frame in frames})
    if others:
        warnings.warn(
            f"{len(others)} images in {folder} have no labels in {labels} and are skipped. The first is {others[0]}.",
            stacklevel=4,
        )
