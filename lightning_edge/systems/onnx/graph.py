"""Nets as ONNX graphs, and onnxruntime to run them.

Needs the extra ``export``: ``pip install "lightning-edge[export]"``. A device that only runs graphs needs no more of it
than onnxruntime.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

_MISSING = 'ONNX needs the extra "export": pip install onnx onnxruntime onnxscript'

try:
    from onnxruntime import InferenceSession, SessionOptions  # pyright: ignore[reportAttributeAccessIssue]
except ImportError as error:
    raise ImportError(_MISSING) from error


def export_graph(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], path: Path, keeps_weights: bool = False
) -> Path:
    """Write a module as an ONNX file that holds its weights.

    Args:
        module: What is written, in evaluation mode.
        inputs: Examples of its inputs in their order, by the names that they get.
        outputs: Names of its outputs in their order.
        path: The file.
        keeps_weights: Leave each weight as it is and under its name, so that ``open_session`` can put others in its
            place; else torch may fold some into others.

    Raises:
        ImportError: if torch's exporter lacks a package.
    """
    if find_spec("onnxscript") is None:
        raise ImportError(_MISSING)
    torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        path,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamo=True,
        external_data=False,
        optimize=not keeps_weights,
        verbose=False,
    )
    return path


def open_session(path: Path, num_threads: int, weights: Mapping[str, Tensor] | None = None) -> InferenceSession:
    """Ready a graph to run on the CPU.

    Args:
        path: The file.
        num_threads: Of one operation.
        weights: To take in place of those of the file, by name, for which a device needs the package onnx, too.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the graph has no weights of these names and shapes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected {path.name} in {path.parent}, as the export writes it, got no such file")
    options = SessionOptions()
    options.intra_op_num_threads = num_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave cores to others
    graph = str(path) if weights is None else _with_weights(path, weights)
    return InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_session(session: InferenceSession, **inputs: Tensor) -> dict[str, Tensor]:
    """Outputs of a graph by name."""
    names = [output.name for output in session.get_outputs()]
    arrays = session.run(names, {name: tensor.numpy() for name, tensor in inputs.items()})
    return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}


def _with_weights(path: Path, weights: Mapping[str, Tensor]) -> bytes:
    """The graph of a file with other weights.

    ``add_initializer`` of onnxruntime would not do: it packs some of the file's weights before it looks there.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    there = {initializer.name: initializer for initializer in model.graph.initializer}
    for name, weight in weights.items():
        if name not in there or tuple(there[name].dims) != tuple(weight.shape):
            shape = list(there[name].dims) if name in there else "none"
            raise ValueError(f"expected weights of {path}, got {name} of {list(weight.shape)}, where it has {shape}")
        there[name].CopyFrom(numpy_helper.from_array(weight.numpy(), name))
    return model.SerializeToString()
