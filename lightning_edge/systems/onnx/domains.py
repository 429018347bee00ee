"""One ONNX graph for all domains: the weights of a domain take the place of those that were exported.

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
        net: With experts, on the CPU; put in evaluation mode.
        embeddings: What the net is told of each domain, by the name of its file.
        folder: Where the files go; made if it is missing.
        height: Of the images, pixels.
        width: Of the images, pixels.
        outputs: Names of what the net's ``forward`` gives; as of a ``CenterDetector`` by default.

    Raises:
        ValueError: There is no domain, or the net has no experts.
        ImportError: torch's exporter lacks a package.
    """
    if not embeddings:
        raise ValueError("expected embeddings of one domain or more, got none")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*{_WEIGHTS}"):  # those of another net would be taken for this one's
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
    """What ``export_domains`` wrote: one graph, with the weights of one domain at a time.

    Args:
        folder: With the files.
        domain: Whose weights to begin with.
        num_threads: Of onnxruntime for one operation; as many as torch takes if ``None``.

    Raises:
        FileNotFoundError: A file is missing.
    """

    def __init__(self, folder: str | Path, domain: str, num_threads: int | None = None) -> None:
        self.folder = Path(folder)
        self.num_threads = torch.get_num_threads() if num_threads is None else num_threads
        self.switch_to(domain)

    def switch_to(self, domain: str) -> None:
        """Put the weights of another domain into the graph."""
        path = self.folder / f"{domain}{_WEIGHTS}"
        if not path.is_file():
            known = sorted(path.name.removesuffix(_WEIGHTS) for path in self.folder.glob(f"*{_WEIGHTS}"))
            raise FileNotFoundError(f"expected domain among those of {self.folder}, {known}, got {domain!r}")
        weights = torch.load(path, weights_only=True)
        self._session = open_session(self.folder / "net.onnx", self.num_threads, weights)
        self.domain = domain

    def __call__(self, image: Float[Tensor, "1 3 height width"]) -> tuple[Tensor, ...]:
        """What the net's ``forward`` gives for an image in [0, 1]."""
        return tuple(run_session(self._session, image=image).values())
