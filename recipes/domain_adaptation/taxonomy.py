"""The command that lists all methods of domain adaptation by their kind."""

from inspect import getdoc
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from callbacks import NormReestimation, adaptation
from lightning_edge import shallow


class Kind(NamedTuple):
    """A class of methods."""

    name: str
    idea: str
    methods: tuple[type, ...]


KINDS = (
    Kind(
        "sample re-weighting",
        "source samples that look like target samples count more",
        (shallow.KernelMeanMatching, shallow.KLIEP, shallow.ULSIF),
    ),
    Kind(
        "intermediate subspaces",
        "both domains are mapped into features where they are alike",
        (
            shallow.SampledGeodesicFlow,
            shallow.GeodesicFlowKernel,
            shallow.SubspaceAlignment,
            shallow.TransferComponentAnalysis,
            shallow.JointDistributionAdaptation,
            shallow.TransferJointMatching,
            shallow.CorrelationAlignment,
        ),
    ),
    Kind(
        "discrepancy",
        "training makes a distance of the features small",
        (
            adaptation.DAN,
            adaptation.JAN,
            adaptation.CORAL,
            adaptation.CMD,
            adaptation.ClassDiscrepancy,
            adaptation.DeepJDOT,
        ),
    ),
    Kind(
        "adversarial, generative",
        "images of the target are generated, or those of the source translated",
        (adaptation.CoGAN, adaptation.CyCADA),
    ),
    Kind(
        "adversarial, discriminative",
        "training makes features or outputs that a discriminator cannot tell apart",
        (
            adaptation.DANN,
            adaptation.DomainConfusion,
            adaptation.ADDA,
            adaptation.CDAN,
            adaptation.MCD,
            adaptation.MDD,
            adaptation.AdaptSegNet,
            adaptation.ADVENT,
        ),
    ),
    Kind("reconstruction", "features must also rebuild the images of the target", (adaptation.DRCN, adaptation.DSN)),
    Kind(
        "later than the survey",
        "the net learns from its own predictions for the target, or from its statistics",
        (
            adaptation.MCC,
            adaptation.EntropyMinimization,
            adaptation.BNM,
            adaptation.MeanTeacher,
            adaptation.PseudoBoxes,
            adaptation.FDA,
            adaptation.SourceAugmentation,
            adaptation.TargetBackgrounds,
            adaptation.TENT,
            adaptation.DomainNorms,
            NormReestimation,
        ),
    ),
)
"""The six classes of Zhao et al. 2018, of which the first two are not deep, and what came later."""


def taxonomy() -> None:
    """List all methods of domain adaptation by the classes of the survey arXiv:1803.09180.

    Deep ones are callbacks, which ``--trainer.callbacks+=NAME`` adds to any recipe. Shallow ones are estimators of
    ``lightning_edge.shallow``.
    """
    table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column()
    for kind in KINDS:
        table.add_row(f"[bold]{kind.name}[/bold]", f"[italic]{kind.idea}[/italic]")
        for method in kind.methods:
            table.add_row(f"  {method.__name__}", _summary(method))
        table.add_section()
    Console().print(table)
    Console().print(
        "Callbacks: --trainer.callbacks+=DANN in any recipe. Estimators: from lightning_edge.shallow import ..."
    )


def _summary(method: type) -> Text:
    """First sentence of a docstring, without its markup."""
    return Text((getdoc(method) or "").partition("\n\n")[0].replace("\n", " ").replace("``", ""))
