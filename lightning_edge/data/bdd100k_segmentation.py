"""BDD100K's semantic segmentation: 8,000 labeled street scenes in the USA in varied light and weather, 19 classes.

Source: Yu et al., *BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning*, CVPR 2020,
arXiv:1805.04687. Masks contain the train ids of Cityscapes, and 255 for ignored pixels.
"""

import warnings
from pathlib import Path

from lightning_edge.checks import check_names, check_pair
from lightning_edge.data.base import Split
from lightning_edge.data.formats.bdd100k import SOURCE
from lightning_edge.data.images.augmentation import Transform
from lightning_edge.data.images.files import label_table
from lightning_edge.data.images.headers import by_key, images_in
from lightning_edge.data.segmentation import LabeledClip, SegmentationDataModule
from lightning_edge.ops.cityscapes_labels import IGNORE_INDEX, TRAIN_LABELS
from lightning_edge.samples.bdd100k_segmentation import sample_bdd100k_segmentation
from lightning_edge.samples.world.frames import TEST_SEED


class BDD100KSegmentationDataModule(SegmentationDataModule):
    """Single images of BDD100K (7,000 for training, 1,000 for validation) with the 19 classes of Cityscapes.

    ``root`` contains ``images/10k/{train,val}`` and ``labels/sem_seg/masks/{train,val}``. An image and its mask have
    the same name. The labels of the test split are not public, so the test loader serves the validation split. For
    generated data it serves as many other scenes, which are generated on first use.

    Generated images with the same number show the same place in every domain. So a module with
    ``sample_domains=("day",)`` and one with ``("night",)`` show the same places by day and by night.

    Args:
        root: Folder of the data set. If ``None``, small generated scenes in the same layout are used.
        num_samples: Numbers of generated images for training and for evaluation; the test split has as many as the
            validation split.
        sample_size: Height and width of generated images, in pixels.
        sample_domains: Names of the light and weather conditions of generated images.
        train_transform: See :class:`~lightning_edge.data.segmentation.SegmentationDataModule`.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

    Raises:
        ValueError: An argument is out of range.
    """

    num_classes = len(TRAIN_LABELS)
    class_names = tuple(label.name for label in TRAIN_LABELS)
    palette = tuple(label.color for label in TRAIN_LABELS)
    label_table = label_table({label.train_id: label.train_id for label in TRAIN_LABELS} | {IGNORE_INDEX: IGNORE_INDEX})

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        num_samples: tuple[int, int] = (120, 40),
        sample_size: tuple[int, int] = (144, 256),
        sample_domains: tuple[str, ...] = ("day", "night"),
        train_transform: Transform | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(train_transform, batch_size, eval_batch_size, num_workers, seed)
        check_pair(num_samples=num_samples, sample_size=sample_size)
        check_names(sample_domains=sample_domains)
        self.root = root
        self.num_samples = num_samples
        self.sample_size = sample_size
        self.sample_domains = tuple(sample_domains)

    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        self._folder()

    def clips(self, split: Split) -> list[LabeledClip]:
        """Images of a split with their masks, one for each mask, by name."""
        root, part = self._folder(split), "train" if split == "train" else "val"
        image_folder, mask_folder = root / "images/10k" / part, root / "labels/sem_seg/masks" / part
        masks, images = (by_key(images_in(folder), lambda path: path.stem) for folder in (mask_folder, image_folder))
        if not masks:
            raise FileNotFoundError(
                f"There are no masks in {mask_folder}: download the labels of semantic segmentation from {SOURCE} and "
                "unpack them in root; their colormaps alone are not enough"
            )
        missing = [name for name in masks if name not in images]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(masks)} masks have no image in {image_folder}, the first is "
                f"{masks[missing[0]]}: download the 10K images from {SOURCE} and unpack them in root"
            )
        if unlabeled := [path for name, path in images.items() if name not in masks]:
            warnings.warn(
                f"{len(unlabeled)} images in {image_folder} have no mask and are skipped. The first is "
                f"{unlabeled[0].name}.",
                stacklevel=3,
            )
        return [LabeledClip((images[name],), mask) for name, mask in masks.items()]

    def _folder(self, split: Split = "train") -> Path:
        if self.root is not None:
            return Path(self.root).expanduser()
        (num_train, num_val), (height, width) = self.num_samples, self.sample_size
        # the test scenes are the validation split of a separate data set
        num_train, seed = (1, TEST_SEED) if split == "test" else (num_train, 0)
        return sample_bdd100k_segmentation(num_train, num_val, height, width, self.sample_domains, seed)
