"""Nets and layers."""

from lightning_edge.nn.accel import AccelNet as AccelNet
from lightning_edge.nn.branch import SegmentationBranch as SegmentationBranch
from lightning_edge.nn.classifier import TimmClassifier as TimmClassifier
from lightning_edge.nn.deeplab import DeepLab as DeepLab
from lightning_edge.nn.flow import DISFlow as DISFlow
from lightning_edge.nn.flow import FlowNetS as FlowNetS
from lightning_edge.nn.flow import RAFTFlow as RAFTFlow
from lightning_edge.nn.keyframe_iou import KeyframeIoU as KeyframeIoU
from lightning_edge.nn.normalize import Normalize as Normalize
from lightning_edge.nn.shift_conversion import convert_to_shifts as convert_to_shifts
from lightning_edge.nn.wrapped import WrappedBranch as WrappedBranch
