"""Read the tensors of other projects' checkpoints. No code of a checkpoint runs."""

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from speechtools.core.errors import ConfigError, first_of

#: Keys of a checkpoint under which projects store the weights of the network.
STATE_KEYS = ("model_state", "state_dict", "model_state_dict", "model")
#: Checkpoints are small; a larger file is not read.
MAX_BYTES = 2 * 2**30
_REMEDY = "Pass the file that the project has saved, or download it again."


class Checkpoint(NamedTuple):
    """Weights of a network, and what else is in the file.

    Attributes
    ----------
    tensors : dict
        Weights by name.
    steps : int or None
        Steps of training, if the file has their number.
    others : list of str
        Names of what is beside the weights.
    """

    tensors: dict[str, Tensor]
    steps: int | None
    others: list[str]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the weights in a file that ``torch.save`` or TorchScript has written.

    Raises
    ------
    ConfigError
        The file is missing, damaged or not a checkpoint, has no weights, or weights that are not finite.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Pass the checkpoint in it.")
    if not path.is_file():
        raise ConfigError(f"The checkpoint {path} does not exist.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ConfigError(f"{path} has {size / 2**30:.1f} GiB: it is not a checkpoint of a speaker encoder.")
    try:
        stream = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The checkpoint {path} cannot be read ({error.strerror or error}).") from error
    try:
        content = _read_torchscript(stream, path) if _is_torchscript(stream) else _load(stream, path)
    except ConfigError:
        raise
    except Exception as error:  # torch, pickle and zipfile raise many types for damaged files
        raise ConfigError(
            f"{path} ({size} bytes) cannot be read as a checkpoint of PyTorch: it is damaged or of another kind. "
            f"{_REMEDY}"
        ) from error
    return _weights(content, path)


def _load(stream: io.BytesIO, path: Path) -> Any:
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # A class that the message names shows that the file is a checkpoint.
        if match := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise ConfigError(
                f"{path} contains more than tensors ({match[1]}), and reading it would run code. In the project that "
                "it comes from, save the state alone: torch.save(model.state_dict(), path)."
            ) from error
        raise


def _weights(content: Any, path: Path) -> Checkpoint:
    """Find the weights in what a file contains."""
    outer = content if isinstance(content, Mapping) else {}
    state = next((outer[key] for key in STATE_KEYS if isinstance(outer.get(key), Mapping)), outer)
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        found = first_of([str(key) for key in outer]) if outer else f"a {type(content).__name__}"
        raise ConfigError(f"{path} contains no weights of a network, but {found}. {_REMEDY}")
    if all(key.startswith("module.") for key in tensors):  # saved from a parallel wrapper
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    for key, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ConfigError(f"The weights {key} in {path} contain NaN or infinite values. {_REMEDY}")
    steps = next((outer[key] for key in ("step", "total_steps") if isinstance(outer.get(key), int)), None)
    others = [str(key) for key, value in outer.items() if value is not state and not isinstance(value, Tensor)]
    return Checkpoint(tensors, steps, others)


# ---------------------------------------------------------------------------------------------------------- TorchScript


def _is_torchscript(stream: io.BytesIO) -> bool:
    is_archive = zipfile.is_zipfile(stream)
    stream.seek(0)
    if not is_archive:
        return False
    names = zipfile.ZipFile(stream).namelist()
    stream.seek(0)
    return any(name.endswith("/constants.pkl") for name in names)


def _read_torchscript(stream: io.BytesIO, path: Path) -> dict[str, Tensor]:
    """Read the tensors of a TorchScript archive without its code, which ``torch.jit.load`` would compile."""
    with zipfile.ZipFile(stream) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise ConfigError(f"{path} was written on a machine of another byte order. Save it again on this one.")
        with archive.open(f"{root}data.pkl") as pickled:
            module = _Unpickler(pickled, archive, root).load()
    return dict(_named_tensors(module, ""))


class _Module(dict):
    """Attributes of a module of the archive."""

    def __setstate__(self, state: Mapping) -> None:
        self.update(state)


class _Unpickler(pickle.Unpickler):
    """Build tensors and modules from an archive, and nothing else."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str):
        super().__init__(stream)
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch.jit._pickle":  # lists, and values with the name of their type
            return lambda value, *_: value
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is neither a tensor nor a module")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, count = pid
        if f"{self.root}data/{key}" not in self.archive.namelist():
            raise pickle.UnpicklingError("missing data")
        data = self.archive.read(f"{self.root}data/{key}")
        return torch.frombuffer(bytearray(data), dtype=dtype, count=count)


_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


def _rebuild(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset).clone()


def _named_tensors(module: Mapping, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for key, value in module.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, _Module):
            yield from _named_tensors(value, f"{prefix}{key}.")
