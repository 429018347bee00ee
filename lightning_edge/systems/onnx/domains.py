"""One ONNX graph for all domains: the exported weights are replaced by those of a domain.

Needs the extra ``export``: ``pip install "lightning-edge[export]"``.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.nn.dynamic.conversion import domain_weights, specialize
from lightning_edge.systems.onnx.graph import export_graph, open_session, run_session

_WEIGHTS = ".weights.pt"


def export_domains(
    net: nn.Module,
    embeddings: Mapping[str, Float[Tensor, " features"]],
    folder: Path,
    height: int,
    width: int,
    outputs: tuple[str, ...] = ("heat", "sides"),
) -> list[Path]:
    """Write ``net.onnx``, a plain net for the first domain, and ``<domain>.weights.pt`` with the weights of each.

    Args:
        net: Net with experts, on the CPU. It is set to evaluation mode.
        embeddings: Embedding of each domain, by the name of the domain, which is also that of its file.
        folder: Folder for the files; it is created if it does not exist.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        outputs: Names for the outputs of the net's ``forward``. The default fits a ``CenterDetector``.

    Returns:
        Paths of the files.

    Raises:
        ValueError: There is no domain, or the net has no experts.
        ImportError: A package that torch's exporter needs is not installed.
    """
    if not embeddings:
        raise ValueError("expected embeddings of one domain or more, got none")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*{_WEIGHTS}"):  # files of an earlier export would be mistaken for part of this one
        path.unlink()
    plain = specialize(net.eval(), next(iter(embeddings.values())))
    files = [
        export_graph(
            plain, {"image": torch.zeros(1, 3, height, width)}, outputs, folder / "net.onnx", keeps_weights=True
        )
    ]
    for name, embedding in embeddings.items():
        files.append(folder / f"{name}{_WEIGHTS}")
        torch.save(domain_weights(net, embedding), files[-1])
    return files


class OnnxDomains:
    """Runs the files of ``export_domains``: one graph, with the weights of one domain at a time.

    Args:
        folder: Folder with the files.
        domain: Name of the domain whose weights are used first.
        num_threads: Number of threads that onnxruntime uses for one operation. ``None`` means as many as torch uses.

    Raises:
        FileNotFoundError: A file does not exist.
    """

    def __init__(self, folder: str | Path, domain: str, num_threads: int | None = None) -> None:
        self.folder = Path(folder)
        self.num_threads = torch.get_num_threads() if num_threads is None else num_threads
        self.switch_to(domain)

    def switch_to(self, domain: str) -> None:
        """Load the weights of another domain into the graph."""
        path = self.folder / f"{domain}{_WEIGHTS}"
        if not path.is_file():
            known = sorted(path.name.removesuffix(_WEIGHTS) for path in self.folder.glob(f"*{_WEIGHTS}"))
            raise FileNotFoundError(f"expected domain to be one of those in {self.folder}, {known}, got {domain!r}")
        weights = torch.load(path, weights_only=True)
        self._session = open_session(self.folder / "net.onnx", self.num_threads, weights)
        self.domain = domain

    def __call__(self, image: Float[Tensor, "1 3 height width"]) -> tuple[Tensor, ...]:
        """Outputs of the net's ``forward`` for an image in [0, 1]."""
        return tuple(run_session(self._session, image=image).values())
