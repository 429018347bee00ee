"""LightningDataModules, one file for each data set."""

from lightning_edge.data.base import EdgeDataModule as EdgeDataModule
from lightning_edge.data.bdd100k import BDD100KDataModule as BDD100KDataModule
from lightning_edge.data.bdd100k_segmentation import BDD100KSegmentationDataModule as BDD100KSegmentationDataModule
from lightning_edge.data.camvid import CamVidDataModule as CamVidDataModule
from lightning_edge.data.camvid import CamVidVideoDataModule as CamVidVideoDataModule
from lightning_edge.data.cifar import CIFARDataModule as CIFARDataModule
from lightning_edge.data.cityscapes import CityscapesDataModule as CityscapesDataModule
from lightning_edge.data.cityscapes import CityscapesVideoDataModule as CityscapesVideoDataModule
from lightning_edge.data.corrupted_cifar import CorruptedCIFARDataModule as CorruptedCIFARDataModule
from lightning_edge.data.detection import DetectionDataModule as DetectionDataModule
from lightning_edge.data.digit_sets import DigitSetDataModule as DigitSetDataModule
from lightning_edge.data.digits import DigitsDataModule as DigitsDataModule
from lightning_edge.data.domain_adaptation import AdaptationDataModule as AdaptationDataModule
from lightning_edge.data.domains.embeddings import EstimatedEmbedding as EstimatedEmbedding
from lightning_edge.data.domains.embeddings import ImageFeatureEmbedding as ImageFeatureEmbedding
from lightning_edge.data.domains.embeddings import MeanFeatureEmbedding as MeanFeatureEmbedding
from lightning_edge.data.domains.embeddings import OneHotEmbedding as OneHotEmbedding
from lightning_edge.data.domains.embeddings import RandomEmbedding as RandomEmbedding
from lightning_edge.data.domains.embeddings import ShuffledEmbedding as ShuffledEmbedding
from lightning_edge.data.domains.partitions import ByAttributes as ByAttributes
from lightning_edge.data.domains.partitions import ByClusters as ByClusters
from lightning_edge.data.domains.partitions import EachImage as EachImage
from lightning_edge.data.domains.partitions import RandomDomains as RandomDomains
from lightning_edge.data.drive import boxed_drive as boxed_drive
from lightning_edge.data.drive import labeled_drive as labeled_drive
from lightning_edge.data.frames import FramesDataModule as FramesDataModule
from lightning_edge.data.images.augmentation import CropFlip as CropFlip
from lightning_edge.data.images.augmentation import DetectionAugmentation as DetectionAugmentation
from lightning_edge.data.images.augmentation import RandomShift as RandomShift
from lightning_edge.data.images.augmentation import StreetAugmentation as StreetAugmentation
from lightning_edge.data.images.camera_motion import RandomCameraMotion as RandomCameraMotion
from lightning_edge.data.images.files import label_table as label_table
from lightning_edge.data.joint import JointDataModule as JointDataModule
from lightning_edge.data.mnist import MNISTDataModule as MNISTDataModule
from lightning_edge.data.mnist import MNISTMDataModule as MNISTMDataModule
from lightning_edge.data.office_caltech import OfficeCaltechDataModule as OfficeCaltechDataModule
from lightning_edge.data.remapped import RemappedDataModule as RemappedDataModule
from lightning_edge.data.segmentation import LabeledClip as LabeledClip
from lightning_edge.data.segmentation import SegmentationDataModule as SegmentationDataModule
from lightning_edge.data.segmentation import SegmentationVideoDataModule as SegmentationVideoDataModule
from lightning_edge.data.svhn import SVHNDataModule as SVHNDataModule
from lightning_edge.data.unlabeled_images import UnlabeledImagesDataModule as UnlabeledImagesDataModule
from lightning_edge.data.usps import USPSDataModule as USPSDataModule
from lightning_edge.renamed import old_names

__getattr__ = old_names(
    __name__,
    {
        "AtRandom": "RandomEmbedding",
        "Estimated": "EstimatedEmbedding",
        "ImageFeatures": "ImageFeatureEmbedding",
        "LabelledClip": "LabeledClip",
        "labelled_drive": "labeled_drive",
        "MeanFeatures": "MeanFeatureEmbedding",
        "OneHot": "OneHotEmbedding",
        "Shuffled": "ShuffledEmbedding",
    },
)
