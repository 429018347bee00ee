"""The command that drives a domain-aware net through changing light and weather."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import track
from torch import Tensor

from lightning_edge.checkpoints import with_weights
from lightning_edge.contracts import Detections
from lightning_edge.data.domains.partitions import ImageRecord
from lightning_edge.data.drive import boxed_drive
from lightning_edge.data.formats.bdd100k import LabelledFrame
from lightning_edge.methods import Detection
from lightning_edge.metrics.average_precision import ScoredImage, ap50_by_domain, outer_edges
from lightning_edge.nn.dynamic.conversion import specialize
from lightning_edge.nn.dynamic.experts import DomainConv2d
from lightning_edge.systems.streaming.domain_stream import DomainStream
from lightning_edge.systems.streaming.domain_watcher import DomainWatcher
from lightning_edge.systems.streaming.known_domains import KnownDomains
from recipes.ddn._detection import check_detection
from recipes.ddn._stream_report import StreamScore, report_stream

_SEED = 90_000
"""Of the first world; those of the sample data are drawn, and lie far apart."""


class _Frame(NamedTuple):
    position: int
    """In its drive."""
    domain: int
    """By its attributes, of those that are known."""
    image: Tensor
    truth: LabelledFrame


def stream(
    model: Any,
    datamodule: Any,
    ckpt_path: Path | None = None,
    static: Path | None = None,
    folder: Path = Path("runs/ddn_stream"),
    domains: tuple[str, ...] = ("day", "night", "rain"),
    num_frames: int = 60,
    num_drives: int = 4,
    window: int = 10,
    layers_per_frame: int = 4,
    encoder: str | None = None,
    weights: str | None = None,
) -> dict[str, float]:
    """Drive through changing light and weather, and compare a net that notices the change with one that is told.

    Drives are generated, at 17 frames a second, and go on from domain to domain without a pause. ``stream.csv`` has the
    average precision of all drives together at each time, ``stream.png`` shows it.

    Args:
        model: A detector with experts.
        datamodule: Its data, whose training images say which domains are known.
        ckpt_path: Checkpoint with the weights.
        static: Checkpoint of a static net to set beside it, a fit with
            ``--model.net.num_experts=1 --model.net.gate=softmax``.
        folder: Where the results go.
        domains: Light and weather of each part of a drive.
        num_frames: Of each part.
        num_drives: Drives through different worlds.
        window: Frames to a value of average precision.
        layers_per_frame: Layers whose weights are mixed with a frame; 0 mixes all at once.
        encoder: By whose features domains are noticed, as of the command ``embed``.
        weights: As there.

    Raises:
        ValueError: A number is less than 1, ``window`` does not divide ``num_frames``, or the data have no boxes.
    """
    for name, value in (("num_frames", num_frames), ("num_drives", num_drives), ("window", window)):
        if value < 1:
            raise ValueError(f"expected {name} of at least 1, got {value}")
    if num_frames % window:
        raise ValueError(f"expected window to divide num_frames ({num_frames}), to be of one domain, got {window}")

    check_detection(datamodule)
    net = with_weights(model, ckpt_path).net
    known = KnownDomains.from_datamodule(datamodule, encoder, weights)
    streams = [_noticing(net, known, layers_per_frame) for _ in range(num_drives)]
    runners = _runners(net, known, streams, None if static is None else _static_net(static))
    drives = [_drive(_SEED + 100 * number, domains, num_frames, datamodule, known) for number in range(num_drives)]
    found: dict[str, list[list[ScoredImage]]] = {name: [] for name in runners}
    noticed, truth = [], []
    for frames in track(zip(*drives, strict=True), "frames", total=num_frames * len(domains), transient=True):
        for name, run in runners.items():
            found[name].append([_scored(frame, run(number, frame)) for number, frame in enumerate(frames)])
        noticed.append([one.domain for one in streams])
        truth.append([frame.domain for frame in frames])
    scores = [
        StreamScore(name, begin, _ap50(images[begin : begin + window]))
        for name, images in found.items()
        for begin in range(0, len(images), window)
    ]
    return report_stream(scores, _delays(noticed, truth, num_frames), streams, domains, num_frames, folder)


def _noticing(net: Any, known: KnownDomains, layers_per_frame: int) -> DomainStream:

    return DomainStream(net, known.encoder, DomainWatcher(known.centers), known.embeddings, layers_per_frame)


def _runners(
    net: Any, known: KnownDomains, streams: Sequence[DomainStream], static: Any
) -> "dict[str, Callable[[int, _Frame], Detections]]":
    """What is compared: each takes the number of a drive and its next frame."""
    specialists = [specialize(net, embedding) for embedding in known.embeddings]

    @torch.inference_mode()
    def detect(plain: Any, frame: _Frame) -> Detections:
        return plain.detect(frame.image[None])[0]

    runners: dict[str, Callable[[int, _Frame], Detections]] = {}
    if static is not None:
        runners["static"] = lambda number, frame: detect(static, frame)
    runners["told"] = lambda number, frame: detect(specialists[frame.domain], frame)
    runners["notices"] = lambda number, frame: streams[number](frame.image)
    return runners


def _static_net(checkpoint: Path) -> Any:
    """The net that a fit with one expert came to, without the expert."""
    net = Detection.load_from_checkpoint(checkpoint, map_location="cpu").net.eval()
    experts = [layer for layer in net.modules() if isinstance(layer, DomainConv2d)]
    if not experts:
        return net
    if any(layer.num_experts > 1 for layer in experts):
        raise ValueError(
            f"expected static to be a checkpoint of a net with one expert, got {experts[0]} in {checkpoint}"
        )
    return specialize(net, experts[0].weight.new_zeros(experts[0].router.in_features))


def _drive(
    seed: int, domains: Sequence[str], num_frames: int, datamodule: Any, known: KnownDomains
) -> Iterator[_Frame]:

    height, width = datamodule.input_size
    for part, domain in enumerate(domains):
        frames = boxed_drive(seed + part, num_frames, height, width, domain)
        for number, (image, truth) in enumerate(frames):
            index = known.index_of(datamodule, ImageRecord(truth.name, truth.attributes))
            yield _Frame(part * num_frames + number, index, image, truth)


def _scored(frame: _Frame, found: Detections) -> ScoredImage:

    truth = frame.truth
    boxes = torch.cat([torch.from_numpy(truth.boxes_xyxy), torch.from_numpy(truth.ignored_xyxy)])
    label = torch.cat([torch.from_numpy(truth.label), torch.from_numpy(truth.ignored_label)])
    is_ignored = (torch.arange(len(label)) >= len(truth.label)).long()
    found = found._replace(boxes_xyxy=outer_edges(found.boxes_xyxy))  # as the evaluation of BDD100K has it
    return ScoredImage(frame.position, frame.domain, found, outer_edges(boxes), label, is_ignored)


def _ap50(frames: Sequence[Sequence[ScoredImage]]) -> float:
    """Average precision of some frames of all drives, percent."""
    images = [image._replace(domain=0) for of_drives in frames for image in of_drives]
    return 100 * ap50_by_domain(images, ["all"]).get("all", float("nan"))


def _delays(
    noticed: Sequence[Sequence[int | None]], truth: Sequence[Sequence[int]], num_frames: int
) -> list[list[int | None]]:
    """Frames from each change of domain until its net serves, for each drive; ``None`` if that comes too late."""
    begins = range(num_frames, len(truth), num_frames)
    return [
        [
            next((step for step in range(num_frames) if noticed[begin + step][drive] == truth[begin][drive]), None)
            for begin in begins
        ]
        for drive in range(len(truth[0]))
    ]
