"""Lightning callbacks, one idea a file."""

from callbacks import adaptation as adaptation
from callbacks.atomic_checkpoint import AtomicCheckpointIO as AtomicCheckpointIO
from callbacks.batch_size_scaling import BatchSizeScaling as BatchSizeScaling
from callbacks.classification_report import ClassificationReport as ClassificationReport
from callbacks.detection_pictures import DetectionPictures as DetectionPictures
from callbacks.detection_writer import DetectionWriter as DetectionWriter
from callbacks.domain_table import DomainTable as DomainTable
from callbacks.gradient_noise_scale import GradientNoiseScale as GradientNoiseScale
from callbacks.latency_monitor import LatencyMonitor as LatencyMonitor
from callbacks.norm_reestimation import NormReestimation as NormReestimation
from callbacks.overlay_writer import OverlayWriter as OverlayWriter
from callbacks.prediction_writer import PredictionWriter as PredictionWriter
from callbacks.segmentation_pictures import SegmentationPictures as SegmentationPictures
from callbacks.tradeoff_report import TradeoffReport as TradeoffReport
from callbacks.warm_start import WarmStart as WarmStart
from lightning_edge.renamed import old_names

__getattr__ = old_names(__name__, {"PredictionTable": "PredictionWriter"})
