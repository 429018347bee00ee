"""Nets and layers."""

from lightning_edge.nn.accel import AccelNet as AccelNet
from lightning_edge.nn.branch import SegmentationBranch as SegmentationBranch
from lightning_edge.nn.center_detector import CenterDetector as CenterDetector
from lightning_edge.nn.classifier import TimmClassifier as TimmClassifier
from lightning_edge.nn.ddn import CondConvNet as CondConvNet
from lightning_edge.nn.ddn import DomainNet as DomainNet
from lightning_edge.nn.deeplab import DeepLab as DeepLab
from lightning_edge.nn.dynamic import in_domain as in_domain
from lightning_edge.nn.dynamic_conversion import convert_to_domains as convert_to_domains
from lightning_edge.nn.dynamic_conversion import specialise as specialise
from lightning_edge.nn.flow import DISFlow as DISFlow
from lightning_edge.nn.flow import FlowNetS as FlowNetS
from lightning_edge.nn.flow import RAFTFlow as RAFTFlow
from lightning_edge.nn.image_statistics import ImageStatistics as ImageStatistics
from lightning_edge.nn.keyframe_iou import KeyframeIoU as KeyframeIoU
from lightning_edge.nn.normalize import Normalize as Normalize
from lightning_edge.nn.shift_conversion import convert_to_shifts as convert_to_shifts
from lightning_edge.nn.timm_backbone import TimmBackbone as TimmBackbone
from lightning_edge.nn.torchvision_detectors import FasterRCNNDetector as FasterRCNNDetector
from lightning_edge.nn.torchvision_detectors import FCOSDetector as FCOSDetector
from lightning_edge.nn.torchvision_detectors import RetinaNetDetector as RetinaNetDetector
from lightning_edge.nn.wrapped import WrappedBranch as WrappedBranch
