"""ONNX files of trained models: the network, and in the metadata of the file all that its interface needs.

Reading needs the package ``onnxruntime`` alone, not torch. The entry ``speechtools`` of the metadata is a JSON object,
and ``sha256`` the checksum of the file with zeros in its place.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError, ModelKindError
from speechtools.core.installation import optional_package

#: Version of the metadata; raised by changes that earlier versions of the toolkit cannot read.
FORMAT = 1
#: Entries of the metadata.
ENTRY, CHECKSUM = "speechtools", "sha256"
NO_CHECKSUM = "0" * 64
SUFFIX = ".onnx"
_EXPORT_AGAIN = "Copy it again, or write it again with `speechtools export`."
_KEYS = {"format": int, "interface": str, "values": dict, "facts": dict, "model_id": str, "precision": str}

AnyOnnxModel = TypeVar("AnyOnnxModel", bound="OnnxModel")


class OnnxModel:
    """Base class of the interfaces to models in ONNX form.

    Parameters
    ----------
    path : str or Path
        A file that ``speechtools export`` has written.
    threads : int, optional
        Threads of a computation. Default: as many as the machine has cores.

    Attributes
    ----------
    facts : dict
        What the model was trained on, and its metrics.
    values : dict
        Plain values, such as the sample rate.
    model_id : str
        A fingerprint of the weights and options of the model that was exported.
    precision : str
        ``float32``, or ``int8`` if the weights are quantised.

    Raises
    ------
    ConfigError
        The file does not exist, is damaged, is no model of this toolkit, or is one of another kind or a later version.
    SpeechtoolsError
        The package ``onnxruntime`` is not installed.
    """

    #: Names of the interfaces whose exports it loads.
    INTERFACES: ClassVar[tuple[str, ...]] = ()
    device = "cpu"

    def __init__(self, path: str | Path, threads: int | None = None):
        if threads is not None:
            check_number("threads", threads, 1, 1024, whole=True)
        self.path = Path(path).expanduser()
        content = _read(self.path)
        _check_sum(content, self.path)
        self._session = _session(content, self.path, threads)
        described = _described(self._session.get_modelmeta().custom_metadata_map, self.path)
        if described["interface"] not in self.INTERFACES:
            raise ModelKindError(
                f"{self.path} is an export of {described['interface']}, which {type(self).__name__} does not load. "
                "Load it with from_onnx of that interface.",
                described["interface"],
            )
        self.interface: str = described["interface"]
        self.values: dict[str, Any] = described["values"]
        self.facts: dict[str, Any] = described["facts"]
        self.model_id: str = described["model_id"]
        self.precision: str = described["precision"]
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._outputs = [entry.name for entry in self._session.get_outputs()]
        try:
            self.sample_rate = int(self.values["sample_rate"])
            self._prepare()
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            reason = f"its metadata lack {error}" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"{self.path} cannot be used: {reason}. {_EXPORT_AGAIN}") from error

    def _prepare(self) -> None:
        """Take what the interface needs from the values of the model."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute all outputs, by name; inputs that the model does not have are left out."""
        feeds = {name: value for name, value in inputs.items() if name in self._inputs}
        return dict(zip(self._outputs, self._session.run(None, feeds), strict=True))


def check_target(path: str | Path, overwrite: bool, what: str = "path") -> Path:
    """Return the path of a model that can be written.

    Raises
    ------
    ConfigError
        The name does not end in .onnx, the folder does not exist, or the file exists and ``overwrite`` is not set.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != SUFFIX:
        raise ConfigError(f"{what}={path} does not end in {SUFFIX}. Pass the name of a file such as model{SUFFIX}.")
    if not path.parent.is_dir():
        raise ConfigError(f"{what}={path}: the folder {path.parent} does not exist. Create it, or choose another.")
    if path.is_dir():
        raise ConfigError(f"{what}={path} is a folder. Choose another name.")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists. Pass --overwrite (overwrite=True in Python) to replace it.")
    return path


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """Represent an array in JSON.

    >>> decode_array(encode_array(np.eye(2, dtype=np.float32))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    array = np.ascontiguousarray(array, dtype="<f4")
    return {"shape": list(array.shape), "float32": base64.b64encode(array.tobytes()).decode()}


def decode_array(plain: Mapping[str, Any]) -> np.ndarray:
    """Return the array that :func:`encode_array` represents."""
    return np.frombuffer(base64.b64decode(plain["float32"]), dtype="<f4").reshape(plain["shape"])


def with_checksum(content: bytes) -> bytes:
    """Put the checksum of a file in the place of the zeros that its metadata have."""
    return content.replace(NO_CHECKSUM.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Pass the .onnx file, or load a folder with from_hparams.")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"The model {path} does not exist. Write it with `speechtools export`.") from error
    except OSError as error:
        raise ConfigError(f"The model {path} cannot be read ({error.strerror or error}).") from error


def _check_sum(content: bytes, path: Path) -> None:
    """Compare a file with its checksum, if it has one."""
    entry = re.search(rb"\x0a\x06sha256\x12\x40([0-9a-f]{64})", content)
    if entry is None:
        return
    start, end = entry.span(1)
    expected = hashlib.sha256(content[:start] + NO_CHECKSUM.encode() + content[end:]).hexdigest()
    if expected.encode() != entry[1]:
        raise ConfigError(
            f"{path} does not match its checksum: it is damaged or was edited. {_EXPORT_AGAIN} If you edited it "
            f"yourself, remove the entry {CHECKSUM} from its metadata."
        )


def _session(content: bytes, path: Path, threads: int | None) -> Any:
    onnxruntime = optional_package("onnxruntime", "A model in ONNX form", "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of its types is a subclass of RuntimeError, or of Exception in some versions
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ConfigError(f"{path} cannot be read as an ONNX model ({reason[:200]}). {_EXPORT_AGAIN}") from error


def _described(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The JSON object in the metadata of a model."""
    if ENTRY not in metadata:
        raise ConfigError(f"{path} is an ONNX model of another program. Pass a file that `speechtools export` wrote.")
    try:
        described = json.loads(metadata[ENTRY])
        version = described["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f"The metadata of {path} are damaged ({error}). {_EXPORT_AGAIN}") from error
    if isinstance(version, int) and version > FORMAT:
        raise ConfigError(f"{path} has format {version}, but this version reads up to {FORMAT}. Upgrade speechtools.")
    wrong = [key for key, kind in _KEYS.items() if not isinstance(described.get(key), kind)]
    if wrong:
        raise ConfigError(f"The metadata of {path} are damaged: {', '.join(wrong)}. {_EXPORT_AGAIN}")
    return described
