"""Write trained models to ONNX files, and check that they compute what torch computes."""

import contextlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import speechtools
from speechtools.core.errors import ConfigError
from speechtools.core.files import disk_errors, write_aside
from speechtools.core.installation import optional_package
from speechtools.core.onnx_file import (
    CHECKSUM,
    ENTRY,
    FORMAT,
    NO_CHECKSUM,
    SUFFIX,
    check_target,
    with_checksum,
)

#: The version of the operators: old enough for all versions of onnxruntime that the extra ``onnx`` allows.
OPSET = 17
#: Largest difference of an element of the results.
TOLERANCE = 1e-4
#: Operators whose weights are quantised. Convolutions of 8-bit integers are slower than others.
_QUANTISED = ("LSTM", "MatMul", "Gemm")


@dataclass(frozen=True)
class OnnxGraph:
    """What becomes a graph of ONNX.

    Attributes
    ----------
    module : nn.Module
        Takes the inputs, and returns a tuple of the outputs.
    inputs : dict
        Example inputs by name, with a batch of 2 or more where there is a batch.
    outputs : sequence of str
        Names of the outputs.
    axes : dict
        Names of the axes that may have any size, by input or output and number: ``{"wavs": {0: "batch"}}``.
    values : dict
        Plain values for the interface.
    recordings : sequence of np.ndarray
        Those that the results are checked with, (samples,), of several lengths.
    networks : sequence of str
        Names of the modules in ``module`` whose weights may be quantised.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    axes: Mapping[str, Mapping[int, str]]
    values: Mapping[str, Any]
    recordings: Sequence[np.ndarray]
    networks: Sequence[str] = ()


@dataclass(frozen=True)
class OnnxExport:
    """A model that was written.

    Attributes
    ----------
    path : Path
    difference : float
        The largest difference of an element of the results from those of torch, before quantisation.
    change : float or None
        How far quantisation moves results, by the measure of the interface; None without.
    change_text : str
        The same in words.
    """

    path: Path
    difference: float
    change: float | None = None
    change_text: str = ""


def export_model(model: Any, path: str | Path, int8: bool = False, overwrite: bool = False) -> OnnxExport:
    """Write a pretrained interface to an ONNX file; see :meth:`PretrainedModel.to_onnx`."""
    path = check_target(path, overwrite)
    for package in ("onnx", "onnxruntime"):
        optional_package(package, "Export to ONNX", "onnx")
    if torch.device(model.device).type != "cpu" or model.dtype != torch.float32:
        raise ConfigError(
            f"Only models in float32 on the CPU are exported; this one is in {model.dtype} on {model.device}. Load it "
            'with run_opts={"device": "cpu"}.'
        )
    graph = model.onnx_graph()
    described = {
        "format": FORMAT,
        "speechtools": speechtools.__version__,
        "interface": type(model).__name__,
        "values": dict(graph.values),
        "facts": model.facts,
        "model_id": model.model_id,
        "precision": "float32",
    }
    content = to_onnx(graph)
    described = json.loads(json.dumps(described, default=str))
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / f"float32{SUFFIX}"
        plain.write_bytes(with_metadata(content, described))
        expected = model.onnx_results(graph.recordings)
        difference = check_results(expected, type(model).from_onnx(plain, threads=1).onnx_results(graph.recordings))
        written, change, text = plain, None, ""
        if int8:
            written = Path(folder) / f"int8{SUFFIX}"
            written.write_bytes(with_metadata(quantised(content, graph.networks), described | {"precision": "int8"}))
            results = type(model).from_onnx(written, threads=1).onnx_results(graph.recordings)
            change, text = model.onnx_change(expected, results)
            if not change <= model.INT8_LIMIT:
                raise ConfigError(
                    f"int8: {text}, more than {model.INT8_LIMIT:g}, so the model was not written. Export it without "
                    "int8."
                )
        result = written.read_bytes()
    remedy = "Free some space, or choose another folder."
    with disk_errors(f"the model {path}", remedy, len(result) / 1e6), write_aside(path) as aside:
        aside.write_bytes(result)
    return OnnxExport(path, difference, change, text)


def to_onnx(graph: OnnxGraph) -> bytes:
    """Translate a graph.

    Raises
    ------
    ConfigError
        The exporter of torch does not know an operation.
    """
    # The exporter that records operations: it has all operators since torch 2.8 and keeps LSTMs whole. The newer one,
    # which torch.export feeds, has LSTMs since torch 2.10 only, and specialises the lengths of these graphs.
    try:
        with _quiet(), tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"graph{SUFFIX}")
            torch.onnx.export(
                graph.module.eval(),
                tuple(graph.inputs.values()),
                path,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_axes={name: dict(axes) for name, axes in graph.axes.items()},
                opset_version=OPSET,
                dynamo=False,
            )
            return Path(path).read_bytes()
    except Exception as error:  # many types, also of plugins
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ConfigError(
            f"The model cannot be exported to ONNX ({reason[:300]}). It has an operation without a form "
            "in ONNX; exchange the plugin that uses it."
        ) from error


def with_metadata(content: bytes, described: Mapping[str, Any]) -> bytes:
    """Add the metadata and the checksum to a model."""
    import onnx

    model = onnx.load_from_string(content)
    model.producer_name = ENTRY
    onnx.helper.set_model_props(model, {ENTRY: json.dumps(described, ensure_ascii=False), CHECKSUM: NO_CHECKSUM})
    return with_checksum(model.SerializeToString())


def quantised(content: bytes, networks: Sequence[str]) -> bytes:
    """Quantise the weights of networks to 8 bits; those of features and spectra stay as they are.

    Raises
    ------
    ConfigError
        The networks have no weights that can be quantised.
    """
    import onnx

    prefixes = tuple(f"/{name}/" for name in networks)
    nodes = [
        node.name
        for node in onnx.load_from_string(content).graph.node
        if node.op_type in _QUANTISED and any(prefix in node.name for prefix in prefixes)
    ]
    if not nodes:
        raise ConfigError("int8: the network has no layer that can be quantised. Export it without.")
    quantization = optional_package("onnxruntime.quantization", "int8", "onnx")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = (os.path.join(folder, name) for name in ("source.onnx", "target.onnx"))
        Path(source).write_bytes(content)
        quantization.quantize_dynamic(
            source,
            target,
            nodes_to_quantize=nodes,
            op_types_to_quantize=list(_QUANTISED),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
        return Path(target).read_bytes()


def check_results(expected: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> float:
    """Return the largest difference of the results of an export from those of torch.

    Raises
    ------
    ConfigError
        They have another shape, or differ by more than :data:`TOLERANCE`.
    """
    difference = 0.0
    for array, other in zip(expected, results, strict=True):
        if array.shape != other.shape:
            raise ConfigError(
                f"The model was not written: ONNX gives results of shape {other.shape}, torch of {array.shape}. A "
                "plugin of the model computes something else when it is exported; exchange it."
            )
        difference = max(difference, float(np.abs(array - other).max(initial=0.0)))
    if not difference <= TOLERANCE:
        raise ConfigError(
            f"The model was not written: its results in ONNX differ by {difference:.2g} from those in torch, more than "
            f"{TOLERANCE:g}. A plugin of the model computes something else when it is exported; exchange it."
        )
    return difference


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings about traced values, which the check of the results covers, and notes of the quantiser."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
