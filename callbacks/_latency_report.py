"""The latency report of a stage, computed from time marks: laps, statistics and a table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mode
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from lightning_edge.timing import Samples, num_samples_needed

PERCENTILES = (50, 95, 99)
METADATA = ("throughput_per_s", "flops_per_sample", "num_parameters", "peak_memory_bytes")
_TIME = re.compile(r"_ms_p\d+$")
MARKS = ("load_start", "load_end", "transfer_end", "step_start", "step_end")


@dataclass(frozen=True)
class Lap:
    """The durations of one batch: load, transfer, step and post. Together they are the time from batch to batch."""

    parts_ms: tuple[float, float, float, float]
    batch_size: int | None


@dataclass
class Laps:
    """The batches of one stage, computed from time marks. A batch without all marks is dropped."""

    finished: list[Lap] = field(default_factory=list)
    batch_size: int | None = None
    _marks: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str, now_ms: float) -> None:
        """Record the time of one of `MARKS`. The first mark ends the previous batch."""
        if name == MARKS[0]:
            self.close(now_ms)
        self._marks[name] = now_ms

    def close(self, now_ms: float) -> None:
        """End the current batch. Its time outside of load, transfer and step counts as ``post``."""
        marks, self._marks = self._marks, {}
        if len(marks) == len(MARKS):
            load_start, load_end, transfer_end, step_start, step_end = (marks[name] for name in MARKS)
            post = (step_start - transfer_end) + (now_ms - step_end)
            parts_ms = (load_end - load_start, transfer_end - load_end, step_end - step_start, post)
            self.finished.append(Lap(parts_ms, self.batch_size))


def summarize(stage: str, laps: Sequence[Lap], num_warmup_batches: int) -> dict[str, Any]:
    """Statistics of one stage as plain values: counts, times, and the reasons for what is left out."""
    counted = laps[num_warmup_batches:]
    size = mode(lap.batch_size for lap in counted) if counted else None
    alike = [lap for lap in counted if lap.batch_size == size]
    summary: dict[str, Any] = {
        "batch_size": size,
        "num_batches": len(alike),
        "num_warmup_batches": len(laps) - len(counted),
        "num_batches_of_other_size": len(counted) - len(alike),
        "parts_ms": _statistics(stage, alike) if alike else {},
        "left_out": [
            f"p{q} needs {num_samples_needed(q)} batches after warm-up"
            for q in PERCENTILES
            if len(alike) < num_samples_needed(q)
        ],
    }
    if size is not None:
        whole = Samples(tuple(sum(lap.parts_ms) for lap in alike))
        summary["throughput_per_s"] = whole.throughput_per_s(size)
    return summary


def metrics(stage: str, report: dict[str, Any]) -> dict[str, float]:
    """Values to log: the median of each part, all percentiles of the main part, and the metadata."""
    main_part = "update" if stage == "train" else "latency"
    times_ms = {
        f"{stage}/{part}_ms_{name}": value["value"]
        for part, values in report["parts_ms"].items()
        for name, value in values.items()
        if name == "p50" or (name != "mean" and part == main_part)
    }
    return times_ms | {f"{stage}/{fact}": float(report[fact]) for fact in METADATA if fact in report}


def is_latency(key: str) -> bool:
    """Whether a key is one of those that :func:`metrics` returns."""
    return key.rpartition("/")[2] in METADATA or _TIME.search(key) is not None


def table(reports: dict[str, dict[str, Any]]) -> Table | Text:
    """The reports of all stages of a run as a table for a terminal, or a line of text if there are no percentiles."""
    first = next(iter(reports.values()))
    title = f"Time per batch in ms, on {first['device']} ({first['machine']['cpu']})"
    caption = "\n".join(f"{stage}: {_footnote(report)}" for stage, report in reports.items())
    rows = {
        f"{stage}/{part}": values for stage, report in reports.items() for part, values in report["parts_ms"].items()
    }
    known = [q for q in PERCENTILES if any(f"p{q}" in values for values in rows.values())]
    if not known:
        counts = ", ".join(f"{stage} had {report['num_batches']}" for stage, report in reports.items())
        return Text(f"Time per batch: {num_samples_needed(50)} batches are needed after warm-up, and {counts}.")
    result = Table(
        "part",
        *(f"p{q} [95 % interval]" for q in known),
        title=title,
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for part, values in rows.items():
        result.add_row(part, *(_cell(values.get(f"p{q}")) for q in known))
    return result


def _statistics(stage: str, laps: Sequence[Lap]) -> dict[str, dict[str, Any]]:
    load, transfer, step, post = (Samples(part) for part in zip(*(lap.parts_ms for lap in laps), strict=True))
    if stage == "train":
        parts = {"load": load, "transfer": transfer, "update": step, "post": post}
    else:
        latency = Samples(tuple(lap.parts_ms[1] + lap.parts_ms[2] for lap in laps))
        parts = {"load": load, "transfer": transfer, "forward": step, "post": post, "latency": latency}
    return {
        name: {"mean": samples.mean_ms}
        | {f"p{q}": samples.percentile(q)._asdict() for q in PERCENTILES if len(samples) >= num_samples_needed(q)}
        for name, samples in parts.items()
    }


def _cell(estimate: dict[str, float] | None) -> str:
    return "" if estimate is None else "{value:.3g} [{low:.3g}, {high:.3g}]".format(**estimate)


def _footnote(report: dict[str, Any]) -> str:
    counted = f"{report['num_batches']} batches of {report['batch_size']}" if report["num_batches"] else "no batch"
    notes = [f"{counted} after {report['num_warmup_batches']} for warm-up"]
    others = report["num_batches_of_other_size"]
    notes += [f"{others} of another size left out"] if others else []
    notes += [f"{report['throughput_per_s']:.4g} samples/s"] if "throughput_per_s" in report else []
    notes += [f"{report['flops_per_sample']:.4g} FLOPs per sample"] if "flops_per_sample" in report else []
    notes += [f"{report['num_parameters']:.4g} parameters", f"peak {report['peak_memory_bytes'] / 2**20:.4g} MiB"]
    return "; ".join([", ".join(notes), *report["left_out"]])
