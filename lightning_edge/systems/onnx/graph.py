"""Export nets to ONNX graphs, and run them with onnxruntime.

Needs the extra ``export``: ``pip install "lightning-edge[export]"``. A device that only runs graphs needs only the
package onnxruntime of this extra.
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
    """Write a module to an ONNX file that includes its weights.

    Args:
        module: Module to export. It is set to evaluation mode.
        inputs: Example inputs in the order of the module's arguments, by their names in the graph.
        outputs: Names of the outputs in the graph, in their order.
        path: Path of the file to write.
        keeps_weights: Whether to keep every weight unchanged under its own name, so that ``open_session`` can replace
            it. Otherwise torch may merge some weights.

    Raises:
        ImportError: A package that torch's exporter needs is not installed.
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
    """Prepare a graph to run on the CPU.

    Args:
        path: Path of the ONNX file.
        num_threads: Number of threads for one operation.
        weights: Weights that replace those of the file, by name. This needs the package onnx in addition to
            onnxruntime. ``None`` means the weights of the file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The graph has no weights of these names and shapes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected {path.name} in {path.parent}, as the export writes it, got no such file")
    options = SessionOptions()
    options.intra_op_num_threads = num_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads do not occupy cores
    graph = str(path) if weights is None else _with_weights(path, weights)
    return InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_session(session: InferenceSession, **inputs: Tensor) -> dict[str, Tensor]:
    """Run a graph, and return its outputs by name."""
    names = [output.name for output in session.get_outputs()]
    arrays = session.run(names, {name: tensor.numpy() for name, tensor in inputs.items()})
    return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}


def _with_weights(path: Path, weights: Mapping[str, Tensor]) -> bytes:
    """Replace weights in the graph of a file, and return the graph as bytes.

    ``add_initializer`` of onnxruntime does not work here, because onnxruntime packs some of the file's weights before
    it applies the replacements.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    initializers = {initializer.name: initializer for initializer in model.graph.initializer}
    for name, weight in weights.items():
        if name not in initializers or tuple(initializers[name].dims) != tuple(weight.shape):
            shape = list(initializers[name].dims) if name in initializers else "none"
            raise ValueError(
                f"expected weights that fit {path}, got {name} of shape {list(weight.shape)}, but the file has {shape}"
            )
        initializers[name].CopyFrom(numpy_helper.from_array(weight.numpy(), name))
    return model.SerializeToString()
