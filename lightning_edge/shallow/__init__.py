"""Shallow domain adaptation: scikit-learn estimators that learn from labeled source and unlabeled target samples.

All of them have ``fit(Xs, ys, Xt)`` and ``predict(X)``, and take the final classifier as ``estimator``. The first two
arguments of ``fit`` are named ``X`` and ``y``, as scikit-learn demands of its estimators. Three
re-weight the source samples (:mod:`~lightning_edge.shallow.reweighting`), the others map both domains into features
where they are alike (:mod:`~lightning_edge.shallow.alignment`). Counts are named ``n_...``, as in scikit-learn. The
default settings are those of the published results on Office-Caltech10.
"""

from lightning_edge.shallow.coral import CorrelationAlignment as CorrelationAlignment
from lightning_edge.shallow.gfk import GeodesicFlowKernel as GeodesicFlowKernel
from lightning_edge.shallow.jda import JointDistributionAdaptation as JointDistributionAdaptation
from lightning_edge.shallow.kliep import KLIEP as KLIEP
from lightning_edge.shallow.kmm import KernelMeanMatching as KernelMeanMatching
from lightning_edge.shallow.sgf import SampledGeodesicFlow as SampledGeodesicFlow
from lightning_edge.shallow.subspace_alignment import SubspaceAlignment as SubspaceAlignment
from lightning_edge.shallow.tca import TransferComponentAnalysis as TransferComponentAnalysis
from lightning_edge.shallow.tjm import TransferJointMatching as TransferJointMatching
from lightning_edge.shallow.ulsif import ULSIF as ULSIF
