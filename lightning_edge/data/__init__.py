"""LightningDataModules, one file for each data set."""

from lightning_edge.data.augmentation import CropFlip as CropFlip
from lightning_edge.data.augmentation import DetectionAugmentation as DetectionAugmentation
from lightning_edge.data.augmentation import StreetAugmentation as StreetAugmentation
from lightning_edge.data.base import EdgeDataModule as EdgeDataModule
from lightning_edge.data.bdd100k import BDD100KDataModule as BDD100KDataModule
from lightning_edge.data.camera_motion import RandomCameraMotion as RandomCameraMotion
from lightning_edge.data.camvid import CamVidDataModule as CamVidDataModule
from lightning_edge.data.camvid import CamVidVideoDataModule as CamVidVideoDataModule
from lightning_edge.data.cifar import CIFARDataModule as CIFARDataModule
from lightning_edge.data.cityscapes import CityscapesDataModule as CityscapesDataModule
from lightning_edge.data.cityscapes import CityscapesVideoDataModule as CityscapesVideoDataModule
from lightning_edge.data.detection import DetectionDataModule as DetectionDataModule
from lightning_edge.data.domain_embeddings import Estimated as Estimated
from lightning_edge.data.domain_embeddings import MeanFeatures as MeanFeatures
from lightning_edge.data.domain_embeddings import OneHot as OneHot
from lightning_edge.data.domain_embeddings import Shuffled as Shuffled
from lightning_edge.data.drive import labelled_drive as labelled_drive
from lightning_edge.data.frames import FramesDataModule as FramesDataModule
from lightning_edge.data.partitions import ByAttributes as ByAttributes
from lightning_edge.data.partitions import ByClusters as ByClusters
from lightning_edge.data.partitions import EachImage as EachImage
from lightning_edge.data.partitions import RandomDomains as RandomDomains
from lightning_edge.data.segmentation import SegmentationDataModule as SegmentationDataModule
from lightning_edge.data.segmentation import SegmentationVideoDataModule as SegmentationVideoDataModule
