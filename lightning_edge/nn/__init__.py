"""Nets and layers."""

from lightning_edge.metrics.keyframe_iou import KeyframeIoU as KeyframeIoU
from lightning_edge.nn.accel import AccelNet as AccelNet
from lightning_edge.nn.classifier import TimmClassifier as TimmClassifier
from lightning_edge.nn.conditioning import in_domain as in_domain
from lightning_edge.nn.detection.center_detector import CenterDetector as CenterDetector
from lightning_edge.nn.detection.torchvision import FasterRCNNDetector as FasterRCNNDetector
from lightning_edge.nn.detection.torchvision import FCOSDetector as FCOSDetector
from lightning_edge.nn.detection.torchvision import RetinaNetDetector as RetinaNetDetector
from lightning_edge.nn.digit_net import DigitNet as DigitNet
from lightning_edge.nn.dynamic.conversion import convert_to_domains as convert_to_domains
from lightning_edge.nn.dynamic.conversion import specialize as specialize
from lightning_edge.nn.dynamic.ddn import CondConvNet as CondConvNet
from lightning_edge.nn.dynamic.ddn import DomainNet as DomainNet
from lightning_edge.nn.encoders.image_statistics import ImageStatistics as ImageStatistics
from lightning_edge.nn.encoders.normalize import Normalize as Normalize
from lightning_edge.nn.encoders.timm_backbone import TimmBackbone as TimmBackbone
from lightning_edge.nn.flow import DISFlow as DISFlow
from lightning_edge.nn.flow import FlowNetS as FlowNetS
from lightning_edge.nn.flow import RAFTFlow as RAFTFlow
from lightning_edge.nn.segmentation.branch import SegmentationBranch as SegmentationBranch
from lightning_edge.nn.segmentation.deeplab import DeepLab as DeepLab
from lightning_edge.nn.segmentation.wrapped import WrappedBranch as WrappedBranch
from lightning_edge.nn.shift.conversion import convert_to_shifts as convert_to_shifts
from lightning_edge.renamed import old_names

__getattr__ = old_names(__name__, {"specialise": "specialize"})
