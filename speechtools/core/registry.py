"""Names of plugins: a class or function is registered as ``kind/name``.

The same token is used in Python, yaml, on the command line and in errors::

    @plugin("encoder/my-net")
    class MyNet(torch.nn.Module): ...

    speechtools.build("encoder/my-net", input_size=40)

Plugins come from this package, from modules that a recipe imports (``__plugins: !module:my_net``), and from other
packages, through the entry-point group ``speechtools.plugins``. This module imports neither torch nor SpeechBrain; the
modules of a kind are imported when it is first used.
"""

import contextlib
import importlib
import inspect
import re
import sys
import traceback
import typing
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from speechtools.core.errors import PluginError, SpeechtoolsError
from speechtools.core.moved import current_plugin_name
from speechtools.core.spelling import did_you_mean, nearest

if typing.TYPE_CHECKING:
    from speechtools.core.contract import Contract

ENTRY_POINT_GROUP = "speechtools.plugins"

_TOKEN = re.compile(r"[a-z][a-z0-9-]*/[a-z0-9][a-z0-9-]*")
_PACKAGE = __name__.partition(".")[0]
_plugins: dict[str, Callable] = {}
_contracts: dict[str, "Contract"] = {}
_imported_kinds: set[str] = set()
_entry_points_loaded = False
#: The types of a yaml's values; ``build`` checks no others.
_PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


def plugin(name: str) -> Callable[[Callable], Callable]:
    """Register a class or function as ``kind/name``; a decorator that returns it unchanged.

    Raises
    ------
    PluginError
        The name is not ``kind/name`` in lower case letters, digits and hyphens, or is taken by another plugin.

    Examples
    --------
    >>> @plugin("features/zero-crossings")
    ... def zero_crossings(wavs): ...
    >>> find("features/zero-crossings") is zero_crossings
    True
    """
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        form = "kind/name in lower case letters, digits and hyphens, as in 'encoder/my-net'"
        raise PluginError(f"Invalid plugin name {name!r}. Write {form}.")
    name = current_plugin_name(name)

    def register(target: Callable) -> Callable:
        other = _plugins.get(name)
        if other is not None and _identity(other) != _identity(target):
            both = f"{place(other)} registers it, and so does {place(target)}"
            raise PluginError(f"The plugin name {name!r} is taken: {both}. Rename one of them.")
        _plugins[name] = target
        return target

    return register


def register_kind(kind: str, contract: "Contract") -> None:
    """Declare a kind of plugins.

    Raises
    ------
    PluginError
        Another kind has this name.
    """
    if _contracts.setdefault(kind, contract).sentence != contract.sentence:
        raise PluginError(f"The kind {kind!r} has a contract already. Choose another name.")


def contract(kind: str) -> "Contract":
    """The contract of a kind.

    Raises
    ------
    PluginError
        The kind has none.

    Examples
    --------
    >>> contract("quality").sentence.split(":")[0]
    'build(name, input_size=257)(feats, lens)'
    """
    kind = current_plugin_name(kind)
    if kind not in contracts():
        known = ", ".join(_contracts)
        raise PluginError(f"The kind {kind!r} has no contract to test against. Kinds with a contract: {known}.")
    return _contracts[kind]


def contracts() -> dict[str, "Contract"]:
    """The contracts of all kinds, by kind.

    >>> "encoder" in contracts()
    True
    """
    _load_entry_points()
    return dict(sorted(_contracts.items()))


def kinds() -> list[str]:
    """All kinds: those with a contract, and those of registered plugins.

    >>> "encoder" in kinds()
    True
    """
    return sorted(contracts().keys() | {name.split("/")[0] for name in _plugins})


def available(pattern: str | None = None) -> list[str]:
    """The registered names, sorted: all, those of a kind (``"encoder"``) or those matching a pattern.

    A pattern matches ``kind/name``; without a slash, it matches kinds.

    Raises
    ------
    PluginError
        The kind is unknown.

    Examples
    --------
    >>> available("encoder/lstmp*"), available("*/lstmp")
    (['encoder/lstmp'], ['encoder/lstmp'])
    """
    _load_entry_points()
    if pattern is None:
        for kind in _contracts:
            _import_kind(kind)
        return sorted(_plugins)
    pattern = current_plugin_name(pattern.removesuffix("/"))
    kind = pattern.split("/")[0]
    if not kind:
        raise PluginError("The name of the kind is empty. Write a kind, or a pattern such as 'encoder/*'.")
    if _is_pattern(kind):
        return [name for name in available() if fnmatchcase(name if "/" in pattern else name.split("/")[0], pattern)]
    _import_kind(kind)
    names = sorted(name for name in _plugins if name.split("/")[0] == kind)
    if not names and kind not in _contracts:
        homonyms = [name for name in available() if name.split("/")[1] == pattern]
        hint = did_you_mean(kind, kinds()) or did_you_mean(pattern, homonyms)
        raise PluginError(f"Unknown kind {kind!r}.{hint} Kinds: {', '.join(kinds())}.")
    return [name for name in names if "/" not in pattern or fnmatchcase(name, pattern)]


def find(name: str) -> Callable:
    """The class or function that is registered as ``kind/name``.

    Raises
    ------
    PluginError
        The plugin is unknown; the message has the nearest spelling and the plugins of that kind.

    Examples
    --------
    >>> find("quality/blstm").__name__
    'QualityBLSTM'
    """
    if not isinstance(name, str) or "/" not in name.strip("/"):
        known = ", ".join(kinds())
        raise PluginError(f"Invalid plugin name {name!r}. Write kind/name, as in 'features/magnitude'. Kinds: {known}.")
    name = current_plugin_name(name)
    kind, short = name.split("/", 1)
    names = available(kind)
    if name not in names:
        short = short.replace("_", "-").lower()
        near = nearest(short, [other.split("/", 1)[1] for other in names])
        module = short.replace("-", "_")
        hint = f" Did you mean '{kind}/{near}'?" if near else ""
        if near != short and Path(f"{module}.py").is_file():
            hint = f" If {module}.py registers it, import it:"
        elif near != short:
            module = "my_module"
            hint += " To import a module of yours:"
        if near != short:
            hint += f" --__plugins={module} in a recipe, --module {module}.py in other commands."
        raise PluginError(f"Unknown plugin {name!r}.{hint} Plugins of the kind {kind!r}: {', '.join(names) or 'none'}.")
    return _plugins[name]


def build(
    plugin: str, offered: dict[str, Any] | None = None, options: dict[str, Any] | None = None, **arguments: Any
) -> Any:
    """Find a plugin, check the arguments against its signature, and call it.

    In a yaml: ``encoder: !apply:speechtools.build {plugin: !ref encoder/<encoder_name>, input_size: 40}``.

    An argument in ``offered`` is passed only if the plugin has a parameter of that name, so a recipe can offer the
    arguments of all plugins among which a user chooses. ``options`` are further arguments, which the plugin must have.

    Raises
    ------
    PluginError
        The plugin is unknown, an argument is unknown, missing or of the wrong type, or the plugin does not accept its
        value. The message has the nearest spelling and the signature.

    Examples
    --------
    >>> import torch
    >>> build("features/magnitude")(torch.randn(2, 16000)).shape
    torch.Size([2, 62, 257])
    """
    target = find(plugin)
    parameters = inspect.signature(target).parameters
    arguments = {key: value for key, value in (offered or {}).items() if key in parameters} | arguments
    arguments |= options or {}
    full = f"The signature is {signature(plugin)}"
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in arguments:
        if key not in parameters and not takes_any:
            raise PluginError(f"{plugin} has no parameter {key!r}.{did_you_mean(key, parameters)} {full}")
    missing = [
        key
        for key, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and key not in arguments
    ]
    if missing:
        raise PluginError(f"{plugin} needs {', '.join(map(repr, missing))}. {full}")
    for key, expected in misfits(target, arguments).items():
        raise PluginError(f"Invalid {key}={arguments[key]!r} for {plugin}: it must be {expected}. {full}")
    try:
        built = target(**arguments)
    except SpeechtoolsError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # of the plugin, or of torch
        values = ", ".join(f"{key}={value!r}" for key, value in arguments.items() if isinstance(value, _PLAIN))
        raise PluginError(
            f"Cannot build {plugin} with {values or 'no arguments'}: {error}{_where(error, target)}. {full}"
        ) from error
    remember(built, plugin, arguments)
    return built


def remember(built: Any, plugin: str, arguments: dict[str, Any]) -> None:
    """Attach to an object the plugin and the arguments that it was built with, for :func:`definition`."""
    with contextlib.suppress(AttributeError, TypeError):  # numbers and the like have no attributes
        built.built_from = {"plugin": current_plugin_name(plugin), **arguments}


def definition(built: Any) -> dict[str, Any] | None:
    """The plugin and the arguments that :func:`build` built an object with; None for any other object.

    >>> definition(build("vad/energy", hop_ms=20.0))
    {'plugin': 'vad/energy', 'hop_ms': 20.0}
    """
    return getattr(built, "built_from", None)


def full_definition(built: Any) -> dict[str, Any] | None:
    """As :func:`definition`, with the defaults of arguments that were not passed.

    >>> full_definition(build("vad/energy", hop_ms=20.0))["sample_rate"]
    16000
    """
    known = definition(built)
    if known is None:
        return None
    parameters = inspect.signature(find(known["plugin"])).parameters
    return {key: parameter.default for key, parameter in parameters.items()} | known


def _where(error: Exception, target: Callable) -> str:
    """File and line of an error in brackets: the innermost of the plugin, or else of what it calls."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if frame.filename == _identity(target)[0]]
    return f" ({(own or frames)[-1].filename}:{(own or frames)[-1].lineno})" if frames else ""


def misfits(function: Callable, arguments: dict) -> dict[str, str]:
    """The arguments whose type a function or class does not accept, with the type it expects.

    Only plain values (numbers, strings, lists, mappings) of annotated parameters are checked; the default of a
    parameter is always accepted.

    Examples
    --------
    >>> def draw(count: int | None = 3, share: float = 0.5): ...
    >>> misfits(draw, {"count": "many", "share": 1})
    {'count': 'int | None'}
    """
    import typeguard  # which takes a fifth of the time in which the command line starts

    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError, AttributeError):  # a name that only type checkers know, or a builtin
        return {}
    parameters = inspect.signature(function).parameters
    expected = {}
    for key, value in arguments.items():
        if key not in hints or key not in parameters or not isinstance(value, _PLAIN):
            continue
        wrong = isinstance(value, bool) and hints[key] in (int, float)  # True is an int to Python
        if not wrong and value == parameters[key].default:
            continue
        try:
            typeguard.check_type(
                value, hints[key], collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS
            )
        except typeguard.TypeCheckError:
            wrong = True
        if wrong and typing.get_origin(hints[key]) is typing.Literal:
            expected[key] = " or ".join(map(repr, typing.get_args(hints[key])))
        elif wrong:
            expected[key] = re.sub(r"\b(\w+\.)+", "", inspect.formatannotation(hints[key]))  # without the modules
    return expected


def import_module(module: str | Path) -> None:
    """Import a module that registers plugins: a file (``my_net.py``, in any folder) or an installed module.

    A file can import the modules beside it, as a script can.

    Raises
    ------
    PluginError
        There is no such module, it cannot be imported, or another module of its name has been imported.

    Examples
    --------
    >>> import_module("speechtools.audio.vad")  # or a file of yours: "my_net.py"
    >>> "vad/energy" in available("vad")
    True
    """
    path = Path(module).expanduser().absolute()
    if path.suffix != ".py":
        path = path.with_name(f"{path.name}.py")
    is_file = path.is_file()
    name = path.stem if is_file else str(module)
    if is_file:
        sys.path.insert(0, str(path.parent))
    try:
        imported = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if not is_file and isinstance(error, ModuleNotFoundError):
            neighbours = {file.name for folder in (path.parent, Path(sys.path[0])) for file in folder.glob("*.py")}
            raise PluginError(
                f"Cannot find the module {name!r}, neither as a file in {path.parent} nor on Python's path."
                f"{did_you_mean(path.name, sorted(neighbours))}"
            ) from error
        reason = f"{type(error).__name__}: {str(error).rstrip('.')}"
        raise PluginError(f"Cannot import the module {module}: {reason}.") from error
    file = getattr(imported, "__file__", None)
    if is_file and Path(file or "").absolute() != path:
        other = f"another module has the name {name!r} ({file or 'part of Python'})"
        raise PluginError(f"Cannot import {module}: {other}. Rename the file.")


@contextlib.contextmanager
def forget_modules_of(folder: Path) -> Iterator[None]:
    """Forget, at the end, the modules of a folder that were imported meanwhile, and their plugins."""
    before = set(sys.modules)
    try:
        yield
    finally:
        files = {name: getattr(sys.modules[name], "__file__", None) for name in sys.modules.keys() - before}
        own = {name for name, file in files.items() if file and folder in Path(file).parents}
        for name in own:
            del sys.modules[name]
        for name in [name for name, target in _plugins.items() if target.__module__ in own]:
            del _plugins[name]


def signature(name: str) -> str:
    """``kind/name(parameter=default, …)``.

    >>> signature("speaker-loss/ge2e-contrast").partition("(")[0]
    'speaker-loss/ge2e-contrast'
    """
    return name + str(inspect.signature(find(name)))


def place(target: Callable) -> str:
    """File and line where a plugin is defined.

    >>> place(find("quality/blstm")).rpartition("/")[2].split(":")[0]
    'net.py'
    """
    target = inspect.unwrap(target)
    try:
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):  # no source: built in, or typed into a shell
        return f"{target.__module__}.{target.__qualname__}"


def _identity(target: Callable) -> tuple:
    # A module that is imported again (reload, pytest's importlib mode) registers the same plugin.
    try:
        source = inspect.getsourcefile(inspect.unwrap(target))
    except TypeError:
        source = target.__module__
    return source, target.__qualname__


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _import_kind(kind: str) -> None:
    if kind in _contracts and kind not in _imported_kinds:
        for module in _contracts[kind].modules:
            importlib.import_module(module)
        _imported_kinds.add(kind)


def _load_entry_points() -> None:
    """Load the contracts and the plugins of other packages, once. A broken package is skipped with a warning."""
    global _entry_points_loaded
    if _entry_points_loaded:
        return
    _entry_points_loaded = True  # first, since the imported modules may use the registry
    for file in sorted(Path(__file__).parents[1].glob("*/contract.py")):
        importlib.import_module(f"{_PACKAGE}.{file.parent.name}.contract")
    for point in entry_points(group=ENTRY_POINT_GROUP):
        plugins_before, contracts_before = dict(_plugins), dict(_contracts)
        try:
            point.load()
            for name, target in _take_foreign(plugins_before).items():
                kind = name.split("/")[0]
                _import_kind(kind)  # first, so that a package cannot take the name of a bundled plugin
                plugin(name)(target)
                if kind not in _contracts and nearest(kind, _contracts):
                    warnings.warn(
                        f"{point.value} registers {name!r} of the new kind {kind!r}.{did_you_mean(kind, _contracts)}",
                        stacklevel=2,
                    )
        except (Exception, SystemExit) as error:  # another package must not take this program down
            _take_foreign(plugins_before)
            for kind in _contracts.keys() - contracts_before.keys():
                del _contracts[kind]
            owner = point.dist.name if point.dist is not None else "an unknown package"
            warnings.warn(
                f"The plugins of the package {owner!r} (entry point {point.name} = {point.value}) were skipped: "
                f"{type(error).__name__}: {str(error).rstrip('.')}. Fix or uninstall that package.",
                stacklevel=2,
            )


def _take_foreign(before: dict[str, Callable]) -> dict[str, Callable]:
    """Remove and return the plugins of other packages that were registered since ``before``."""
    new = _plugins.keys() - before.keys()
    foreign = [name for name in new if _plugins[name].__module__.split(".")[0] != _PACKAGE]
    return {name: _plugins.pop(name) for name in sorted(foreign)}
