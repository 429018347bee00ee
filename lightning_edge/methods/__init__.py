"""LightningModules for training, one file for each method."""

from lightning_edge.methods.accel import Accel as Accel
from lightning_edge.methods.base import Method as Method
from lightning_edge.methods.base import OptimizerCallable as OptimizerCallable
from lightning_edge.methods.classification import Classification as Classification
from lightning_edge.methods.detection import Detection as Detection
from lightning_edge.methods.schedules import PolynomialDecay as PolynomialDecay
from lightning_edge.methods.schedules import Schedule as Schedule
from lightning_edge.methods.schedules import StepSchedule as StepSchedule
from lightning_edge.methods.segmentation import Segmentation as Segmentation
