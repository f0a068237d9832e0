"""Folders of trained models: ``config.json``, ``model.safetensors`` and a model card. Loading them runs no code.

``config.json`` names plugins and their arguments as plain values, and has the checksums of both files. Nothing of a
damaged folder is loaded. The components are built by :func:`speechtools.build`, so a model of a stranger can only use
plugins that are installed or that you import yourself.
"""

import hashlib
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

import speechtools
from speechtools.core import registry
from speechtools.core.errors import ConfigError, ModelKindError, PluginError, first_of
from speechtools.core.files import write_aside

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FILES = (CONFIG, WEIGHTS, CARD)
#: Version of the format; raised by changes that earlier versions of the toolkit cannot read.
FORMAT = 1
#: Key of the type of the weights, if it is not float32.
_PRECISION = "precision"
#: Sections of ``config.json`` and their types.
_SECTIONS: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "speechtools": str,
    "interface": (str, type(None)),
    "values": dict,
    "components": dict,
    "weights": list,
    "facts": dict,
    "weights_sha256": str,
}
_OWN_SUM = "config_sha256"
_MAX_CONFIG_BYTES = 64 * 2**20
#: Largest number that an argument of a component may have, unless its weights have more elements: above all sample
#: rates, and small enough to build with.
_MAX_NUMBER = 200_000
_COPY_AGAIN = "Copy the whole folder again, or export the model again."


class Model(NamedTuple):
    """The content of a folder.

    Attributes
    ----------
    values : dict
        Plain values, such as the sample rate.
    components : dict
        Built plugins by name.
    modules : dict
        Those of the components that have weights.
    facts : dict
        What the model was trained on, and its metrics.
    half : bool
        Whether the weights were written as float16.
    """

    values: dict[str, Any]
    components: dict[str, Any]
    modules: dict[str, nn.Module]
    facts: dict[str, Any]
    half: bool = False


# --------------------------------------------------------------------------------------------------------------- write


def write_model(
    folder: str | Path,
    entries: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    facts: Mapping[str, Any],
    card: str,
    interface: str | None = None,
    half: bool = False,
) -> Path:
    """Write a model; an earlier one in the folder is replaced when everything is written.

    Parameters
    ----------
    folder : str or Path
    entries : mapping
        Plain values, and components that :func:`speechtools.build` built, by name.
    modules : mapping
        The components with trained weights.
    facts : mapping
        What the model was trained on, and its metrics.
    card : str
        Content of ``README.md``.
    interface : str, optional
        Name of the class that loads the model.
    half : bool
        Write numbers as float16 instead of float32, which halves the size. They are loaded as float32.

    Raises
    ------
    ConfigError
        A weight is too large for float16; or a component was not built by ``speechtools.build``, or has an argument or
        a state that is not plain.
    """
    values, components = {}, {}
    for name, entry in entries.items():
        definition = registry.definition(entry)
        if definition is None:
            values[name] = _plain(entry, name)
        else:
            components[name] = {key: _plain(value, f"{key} of {name}") for key, value in definition.items()}
    if missing := modules.keys() - components.keys():
        raise ConfigError(
            f"{', '.join(sorted(missing))} was not built by speechtools.build, so the exported model could not name "
            "its plugin. Register its class with @speechtools.plugin, and build it by that name."
        )
    # Features may have weights, too.
    stateful = {name: entries[name] for name in components if _state(entries[name], name) and name not in modules}
    modules = {**modules, **stateful}
    tensors = {
        f"{name}.{key}": value for name, module in modules.items() for key, value in _state(module, name).items()
    }
    if half:
        tensors = {key: _as_half(value, key) for key, value in tensors.items()}
    weights = safetensors.torch.save(tensors)
    config = {
        "format": FORMAT,
        "speechtools": speechtools.__version__,
        "interface": interface,
        "values": values,
        "components": components,
        "weights": list(modules),
        "facts": _without_nan(json.loads(json.dumps(dict(facts), default=str))),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    if half:
        config[_PRECISION] = "float16"
    config = json.loads(json.dumps(config, allow_nan=False))
    config[_OWN_SUM] = _checksum(config)
    folder = Path(folder).expanduser()
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    with (
        write_aside(folder / CARD) as card_path,
        write_aside(folder / WEIGHTS) as weights_path,
        write_aside(folder / CONFIG) as config_path,
    ):
        card_path.write_text(card, encoding="utf-8")
        weights_path.write_bytes(weights)
        config_path.write_text(text, encoding="utf-8")
    return folder


def check_model_folder(folder: Path, overwrite: bool) -> None:
    """Check that a model can be written to a folder.

    Raises
    ------
    ConfigError
        It is a file, has other files than those of a model, or has a model and ``overwrite`` is not set.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file. Pass the name of a new folder.")
    names = os.listdir(folder) if folder.is_dir() else []
    if names and CONFIG not in names:
        raise ConfigError(
            f"The folder {folder} contains other files: {first_of(sorted(names))}. Pass the name of a new folder."
        )
    if names and not overwrite:
        raise ConfigError(f"{folder} contains a model. Pass --overwrite to replace it, or the name of a new folder.")


def _plain(value: Any, name: str) -> Any:
    """The value as JSON has it."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name} is a {type(value).__name__}, which {CONFIG} cannot contain ({error}). Use plain values (finite "
            "numbers, text, lists, mappings), and build components by speechtools.build."
        ) from error


def _state(module: Any, name: str) -> dict[str, Tensor]:
    """Parameters and buffers of a component, float32 on the CPU, each with memory of its own."""
    if not isinstance(module, nn.Module):
        return {}
    state = {}
    for key, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise ConfigError(f"The state {key} of {name} is not a tensor. Register it as a buffer.")
        value = value.detach().cpu()
        state[key] = (value.float() if value.is_floating_point() else value).contiguous().clone()
    return state


def _as_half(value: Tensor, name: str) -> Tensor:
    if not value.is_floating_point():
        return value
    rounded = value.half()
    if value.isfinite().all() and not rounded.isfinite().all():
        raise ConfigError(
            f"{name} has values up to {float(value.abs().max()):.3g}, too large for float16. Use float32."
        )
    return rounded


def _without_nan(value: Any) -> Any:
    """Replace numbers that are not finite, such as the metric of an empty set, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_without_nan(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _checksum(config: dict[str, Any]) -> str:
    """Checksum of the content, whatever its layout."""
    content = {key: value for key, value in config.items() if key != _OWN_SUM}
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


# ---------------------------------------------------------------------------------------------------------------- read


def read_model(folder: Path, kinds: Mapping[str, str], interface: str) -> Model:
    """Check a folder, build its components, and load their weights.

    Parameters
    ----------
    folder : Path
    kinds : mapping
        The components that the interface accepts, and the kinds of their plugins.
    interface : str
        Name of the interface, for messages.

    Raises
    ------
    ConfigError
        The folder is damaged or incomplete, was written by a later version, is a model of another kind, or needs a
        plugin that is not registered.
    """
    path = folder / CONFIG
    config = _read_config(path)
    trained = config["interface"] or "another interface"
    for name, definition in config["components"].items():
        kind = kinds.get(name)
        if kind is None or definition["plugin"].partition("/")[0] != kind:
            raise ModelKindError(
                f"{path} has the component {name} with the plugin {definition['plugin']!r}, which {interface} does not "
                f"accept. It is a model for {trained}: load it with that.",
                config["interface"],
            )
    tensors = _read_weights(folder / WEIGHTS, config)
    components = {name: _build(name, config, tensors.get(name, {}), path) for name in config["components"]}
    modules = {name: components[name] for name in config["weights"]}
    for name, module in modules.items():
        _load(module, tensors.get(name, {}), name, folder / WEIGHTS)
    return Model(config["values"], components, modules, config["facts"], _PRECISION in config)


def interface_of(folder: Path) -> str | None:
    """The name of the interface that a model was written for, if its folder has it.

    Raises
    ------
    ConfigError
        The folder is damaged or no model.
    """
    return _read_config(folder / CONFIG)["interface"]


def _read_config(path: Path) -> dict[str, Any]:
    """Read ``config.json`` and check its structure and its checksum."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a finite number")

    try:
        if not path.is_file():
            raise OSError("it is not a file")
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes are too many")
        config = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=refuse)
        if not isinstance(config, dict):
            raise ValueError("it is not an object")
        checksum = _checksum(config)
    except (OSError, ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ConfigError(f"{path} cannot be read as JSON ({error}). {_COPY_AGAIN}") from error
    if "format" not in config or "components" not in config:
        raise ConfigError(f"{path} does not describe a model of speechtools: it lacks format or components.")
    version = config["format"]
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        raise ConfigError(f"{path} has format {version}, but this version reads up to {FORMAT}. Upgrade speechtools.")
    if _OWN_SUM in config and config[_OWN_SUM] != checksum:
        raise ConfigError(
            f"{path} does not match its {_OWN_SUM}: it is damaged or was edited. {_COPY_AGAIN} If you edited it "
            f"yourself, delete the line {_OWN_SUM}."
        )
    problems = [f"{key} is missing" for key in _SECTIONS if key not in config]
    problems += [f"unknown key {key!r}" for key in config if key not in (*_SECTIONS, _OWN_SUM, _PRECISION)]
    problems += [
        f"{key}={config[key]!r} is not valid"
        for key, kind in _SECTIONS.items()
        if key in config and not isinstance(config[key], kind)
    ]
    if not problems:
        problems = [*_problems(config)]
    if problems:
        raise ConfigError(f"{path} is not valid: {problems[0][:300]}. {_COPY_AGAIN}")
    return config


def _problems(config: dict[str, Any]) -> Iterator[str]:
    """What is wrong in sections of the right types."""
    if config["format"] != FORMAT or isinstance(config["format"], bool):
        yield f"format={config['format']!r}"
    for name, definition in config["components"].items():
        if not isinstance(definition, dict) or not isinstance(definition.get("plugin"), str):
            yield f"the component {name!r} has no plugin"
        if not name.isidentifier() or name in config["values"]:
            yield f"invalid name {name!r} of a component"
    names = config["weights"]
    if any(not isinstance(name, str) or name not in config["components"] for name in names):
        yield f"weights={names!r} are not names of components"
    elif len(set(names)) < len(names):
        yield f"weights={names!r} repeats a name"
    if config.get(_PRECISION, "float16") != "float16":
        yield f"{_PRECISION}={config[_PRECISION]!r}"


def _read_weights(path: Path, config: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Read the tensors of each component, and check that they are those of the config, and finite."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The weights {path} cannot be read ({error.strerror or error}). {_COPY_AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != config["weights_sha256"]:
        raise ConfigError(
            f"The weights {path} ({len(content)} bytes) are not those that {CONFIG} describes: they are damaged, or "
            f"come from another export. {_COPY_AGAIN}"
        )
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # SafetensorError, and others for types of numbers that torch does not have
        raise ConfigError(f"The weights {path} cannot be read ({error}). {_COPY_AGAIN}") from error
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, rest = key.partition(".")
        if name not in config["weights"]:
            raise ConfigError(f"{path} has the tensor {key}, which belongs to no component. {_COPY_AGAIN}")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ConfigError(f"The weights {path} contain NaN or infinite values in {key}. Export the model again.")
        if _PRECISION in config and value.dtype == torch.float16:
            value = value.float()
        grouped.setdefault(name, {})[rest] = value
    return grouped


def _build(name: str, config: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> Any:
    """Build a component, with no more memory than its weights need."""
    arguments = dict(config["components"][name])
    plugin = arguments.pop("plugin")
    try:
        registry.find(plugin)
    except PluginError as error:
        raise ConfigError(
            f"{path} needs the plugin {plugin!r} for {name}, which is not registered. Name the module that registers "
            f"it: plugins=['my_module.py'], or --module my_module.py on the command line."
        ) from error
    elements = sum(value.numel() for value in tensors.values())
    limit = max(_MAX_NUMBER, elements)
    for key, value in arguments.items():
        if any(abs(number) > limit for number in _numbers(value)):
            raise ConfigError(
                f"{key}={str(value)[:60]} of {name} in {path} is too large for the {elements} weights of {name}. "
                f"{_COPY_AGAIN}"
            )
    try:
        with _limit(elements, len(tensors), f"{name} in {path} is larger than its weights in {WEIGHTS}. {_COPY_AGAIN}"):
            return registry.build(plugin, options=arguments)
    except ConfigError:
        raise
    except Exception as error:  # whatever a plugin raises for values that it does not expect
        raise ConfigError(f"{name} in {path} cannot be built: {error or type(error).__name__}") from error


def _numbers(value: Any) -> Iterator[float]:
    """The numbers in a plain value."""
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _numbers(member)
    elif isinstance(value, int | float):
        yield value


@contextmanager
def _limit(elements: int, count: int, message: str) -> Iterator[None]:
    """Raise a ConfigError when modules built in this block register far more parameters than a file has.

    New parameters are empty when they are registered, so their memory is not in use yet.
    """
    thread, registered = threading.get_ident(), [0, 0]

    def check(module: nn.Module, name: str, parameter: Any) -> None:
        if threading.get_ident() != thread or not isinstance(parameter, Tensor):
            return
        registered[0] += 1
        registered[1] += 0 if nn.parameter.is_lazy(parameter) else parameter.numel()
        # Some modules register a parameter more than once.
        if registered[0] > 1000 + 10 * count or registered[1] > 1_000_000 + 10 * elements:
            raise ConfigError(message)

    handle = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _load(module: Any, tensors: dict[str, Tensor], name: str, path: Path) -> None:
    """Load weights that fit the module exactly."""
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{name} is a {type(module).__name__} and cannot have weights. {_COPY_AGAIN}")
    expected = module.state_dict()
    problems = [f"{key} is missing" for key in expected if key not in tensors]
    problems += [f"{key} is unknown" for key in tensors if key not in expected]
    for key in expected.keys() & tensors.keys():
        target, value = expected[key], tensors[key]
        if not isinstance(target, Tensor):
            continue
        dtype = torch.float32 if target.is_floating_point() else target.dtype  # as _state writes them
        if (target.shape, dtype) != (value.shape, value.dtype):
            have, need = f"{tuple(value.shape)} {value.dtype}", f"{tuple(target.shape)} {dtype}"
            problems.append(f"{key} has {have} instead of {need}")
    if problems:
        raise ConfigError(f"The weights {path} do not fit {name}: {first_of(sorted(problems))}. {_COPY_AGAIN}")
    try:
        module.load_state_dict(tensors)
    except Exception as error:  # a plugin may check its state itself
        raise ConfigError(f"The weights {path} do not fit {name}: {error} {_COPY_AGAIN}") from error
