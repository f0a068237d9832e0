"""Names for parts: a part is a class or function filed as ``kind/name``.

The same token is used in Python, yaml, on the command line and in errors::

    @plugin("encoder/my-net")
    class MyNet(torch.nn.Module): ...

    speechtools.build("encoder/my-net", input_size=40)

Parts come from three places: this package, modules that a recipe imports (``__plugins: !module:my_net``), and other
packages, through the entry-point group ``speechtools.plugins``. This file imports neither torch nor SpeechBrain; the
modules that hold the parts are imported when their kind is first asked for.
"""

import difflib
import importlib
import inspect
import re
import sys
import traceback
import typing
import warnings
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typeguard

from speechtools.core.errors import PluginError, SpeechtoolsError

ENTRY_POINT_GROUP = "speechtools.plugins"

#: Where the parts of each kind live in this package. Importing a module files its parts.
KIND_MODULES: dict[str, tuple[str, ...]] = {
    "corpus": ("speechtools.corpora",),
    "encoder": ("speechtools.speaker.encoders",),
    "enhancer": ("speechtools.enhancement.net",),
    "features": ("speechtools.audio.features",),
    "loss": ("speechtools.speaker.ge2e", "speechtools.speaker.te2e", "speechtools.speaker.softmax"),
    "quality": ("speechtools.quality.net", "speechtools.quality.autoencoder"),
    "reader": ("speechtools.keyword.multireader",),
    "segment": ("speechtools.keyword.segments",),
    "vad": ("speechtools.audio.vad",),
}

_TOKEN = re.compile(r"[a-z][a-z0-9-]*/[a-z0-9][a-z0-9-]*")
_parts: dict[str, Callable] = {}
_imported_kinds: set[str] = set()
_entry_points_loaded = False
#: What a yaml can hold; of other objects the part itself must know what they are.
_PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


def plugin(name: str) -> Callable[[Callable], Callable]:
    """Decorator that files a class or function under ``kind/name`` and returns it unchanged.

    Raises
    ------
    PluginError
        The name is not of the form ``kind/name`` (lower case, digits and hyphens), or another part has it already.

    Example
    -------
    >>> @plugin("features/zero-crossings")
    ... def zero_crossings(wavs): ...
    >>> find("features/zero-crossings") is zero_crossings
    True
    """
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise PluginError(
            f"{name!r} is no plugin name: it must read kind/name in lower case letters, digits and hyphens, "
            "as in 'encoder/my-net'. Rename the plugin."
        )

    def file_part(part: Callable) -> Callable:
        other = _parts.get(name)
        if other is not None and _identity(other) != _identity(part):
            raise PluginError(
                f"The plugin name {name!r} is taken: {place(other)} files it already, and {place(part)} would too. "
                "Give one of the two another name."
            )
        _parts[name] = part
        return part

    return file_part


def available(pattern: str | None = None) -> list[str]:
    """The filed names, sorted: all of them, those of a kind (``"encoder"``) or those matching ``"encoder/*lstm*"``.

    Raises
    ------
    PluginError
        No such kind.

    Example
    -------
    >>> available("encoder/lstm*")
    ['encoder/lstm', 'encoder/lstmp']
    """
    if pattern is None:
        for kind in KIND_MODULES:
            _import_kind(kind)
        _load_entry_points()
        return sorted(_parts)
    kind = pattern.split("/")[0]
    _import_kind(kind)
    names = sorted(name for name in _parts if name.split("/")[0] == kind)
    if not names and kind not in KIND_MODULES:
        raise PluginError(f"There is no kind of plugin called {kind!r}.{did_you_mean(kind, kinds())}")
    return [name for name in names if "/" not in pattern or fnmatchcase(name, pattern)]


def kinds() -> list[str]:
    """Every kind that has a part or a place in this package.

    >>> "encoder" in kinds()
    True
    """
    _load_entry_points()
    return sorted(set(KIND_MODULES) | {name.split("/")[0] for name in _parts})


def find(name: str) -> Callable:
    """The class or function filed under ``kind/name``.

    Raises
    ------
    PluginError
        No such part; the message lists the nearest spelling and the parts of that kind.

    Example
    -------
    >>> find("quality/blstm").__name__
    'QualityBLSTM'
    """
    if not isinstance(name, str) or "/" not in name:
        raise PluginError(
            f"{name!r} names no plugin: write kind/name, as in 'features/magnitude'. Kinds: {', '.join(kinds())}."
        )
    kind = name.split("/")[0]
    names = available(kind)
    if name not in names:
        own_name = name.split("/", 1)[1]  # every name begins with the kind, which makes them alike
        near = nearest(own_name, [each.split("/", 1)[1] for each in names])
        module = f"{own_name.replace('-', '_')}.py"
        hint = f" Did you mean '{kind}/{near}'?" if near else ""
        if Path(module).is_file():
            hint = f" {module} here may file it: add --module {module}."
        raise PluginError(
            f"There is no plugin {name!r}.{hint} The kind {kind!r} has: {', '.join(names) or 'none'}. "
            "A module of your own is imported by __plugins in a recipe's yaml, by --module on the command line."
        )
    return _parts[name]


def build(plugin: str, offered: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """Find a part and call it, once its arguments have been checked against its signature.

    In a yaml: ``encoder: !apply:speechtools.build {plugin: !ref encoder/<encoder_name>, input_size: 40}``.

    What is ``offered`` reaches the part only where its signature has a parameter of that name: in a slot whose parts
    have different arguments, a recipe offers them all.

    Raises
    ------
    PluginError
        No such part; an argument that it does not take, or not of that type, or with that value; or a missing one. The
        message gives the nearest spelling and the whole signature.

    Example
    -------
    >>> import torch
    >>> build("features/magnitude")(torch.randn(2, 16000)).shape
    torch.Size([2, 62, 257])
    """
    part = find(plugin)
    parameters = inspect.signature(part).parameters
    arguments = {key: value for key, value in (offered or {}).items() if key in parameters} | arguments
    full = f"The signature is {signature(plugin)}"
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for given in arguments:
        if given not in parameters and not takes_any:
            raise PluginError(f"{plugin} takes no parameter {given!r}.{did_you_mean(given, parameters)} {full}")
    missing = [
        key
        for key, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and key not in arguments
    ]
    if missing:
        raise PluginError(f"{plugin} needs {', '.join(repr(key) for key in missing)}, which was not given. {full}")
    for key, expected in misfits(part, arguments).items():
        raise PluginError(f"{plugin} cannot take {key}={arguments[key]!r}: it must be {expected}. {full}")
    try:
        return part(**arguments)
    except SpeechtoolsError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # what the part, or torch beneath it, says of them
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items() if isinstance(value, _PLAIN))
        raise PluginError(
            f"{plugin} cannot be built with {given or 'no arguments'}: {error}{_where(error, part)}. {full}"
        ) from error


def _where(error: Exception, part: Callable) -> str:
    """File and line of the part from which an error came, in brackets; those below it where it has none."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if frame.filename == _identity(part)[0]]
    return f" ({(own or frames)[-1].filename}:{(own or frames)[-1].lineno})" if frames else ""


def misfits(function: Callable, arguments: dict) -> dict[str, str]:
    """Arguments that are not what a function or class says it takes: by parameter, what it says.

    Only plain values are looked at (numbers, text, lists, mappings), of parameters that have an annotation; the
    parameter's default is always right.

    Example
    -------
    >>> def draw(count: int | None = 3, share: float = 0.5): ...
    >>> misfits(draw, {"count": "many", "share": 1})
    {'count': 'int | None'}
    """
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError, AttributeError):  # a name known to type checkers alone; a builtin
        return {}
    parameters = inspect.signature(function).parameters
    found = {}
    for key, value in arguments.items():
        if key not in hints or key not in parameters or not isinstance(value, _PLAIN):
            continue
        wrong = isinstance(value, bool) and hints[key] in (int, float)  # Python counts True as 1
        if not wrong and value == parameters[key].default:
            continue
        try:
            typeguard.check_type(
                value, hints[key], collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS
            )
        except typeguard.TypeCheckError:
            wrong = True
        if wrong and typing.get_origin(hints[key]) is typing.Literal:
            found[key] = " or ".join(map(repr, typing.get_args(hints[key])))
        elif wrong:
            found[key] = re.sub(r"\b(\w+\.)+", "", inspect.formatannotation(hints[key]))  # without the modules
    return found


def import_module(module: str | Path) -> None:
    """Import a module that files parts: a file (``my_net.py``, in any folder), or an installed module by its name.

    As a script does, a file finds the modules that lie beside it.

    Raises
    ------
    PluginError
        There is no such module, it cannot be imported, or another one of its name is imported already.

    Example
    -------
    >>> import_module("speechtools.audio.vad")  # or a file of your own: "my_net.py"
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
    except (Exception, SystemExit) as error:  # whatever is wrong in it, the person is told which module it is
        if not is_file and isinstance(error, ModuleNotFoundError):
            beside = {each.name for folder in (path.parent, Path(sys.path[0])) for each in folder.glob("*.py")}
            raise PluginError(
                f"There is no module {name!r} to import plugins from, neither as a file in {path.parent} nor where "
                f"Python looks.{did_you_mean(path.name, sorted(beside))} Mend the path or the name."
            ) from error
        raise PluginError(
            f"The module {module} cannot be imported: {type(error).__name__}: {str(error).rstrip('.')}. Mend it."
        ) from error
    if is_file and Path(getattr(imported, "__file__", None) or "").absolute() != path:
        raise PluginError(
            f"{module} cannot be imported, since {name!r} is the name of another module, "
            f"{getattr(imported, '__file__', 'one of Python itself')}. Give the file another name."
        )


def signature(name: str) -> str:
    """``kind/name(parameter=default, …)``, as errors and ``speechtools show`` print it.

    >>> signature("loss/ge2e-contrast").partition("(")[0]
    'loss/ge2e-contrast'
    """
    return name + str(inspect.signature(find(name)))


def place(part: Callable) -> str:
    """File and line where a part is defined.

    >>> place(find("quality/blstm")).rpartition("/")[2].split(":")[0]
    'net.py'
    """
    target = inspect.unwrap(part)
    try:
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):  # built without source, or typed into a shell
        return f"{target.__module__}.{target.__qualname__}"


def _identity(part: Callable) -> tuple:
    # A module imported again (reload, pytest's importlib mode) files the same part anew: that is no second part.
    try:
        source = inspect.getsourcefile(inspect.unwrap(part))
    except TypeError:
        source = part.__module__
    return source, part.__qualname__


def nearest(word: object, choices: Iterable[str]) -> str | None:
    """The choice that a misspelt word was meant to be: one that begins with it, or the most similar; None if none is.

    Example
    -------
    >>> nearest("loss/ge2e", ["loss/te2e", "loss/ge2e-softmax"]), nearest("lstmq", ["lstm"]), nearest("x", ["lstm"])
    ('loss/ge2e-softmax', 'lstm', None)
    """
    text, known = str(word), list(choices)
    begun = [choice for choice in known if len(text) > 2 and choice.startswith(text)]
    return next(iter(begun or difflib.get_close_matches(text, known, n=1, cutoff=0.5)), None)


def did_you_mean(word: object, choices: Iterable[str], quoted: bool = True) -> str:
    """`` Did you mean 'x'?``, or nothing where no choice is near; a key or the name of a file needs no quotes.

    Example
    -------
    >>> did_you_mean("lstmq", ["lstm"]), did_you_mean("sead", ["seed", "lr"], quoted=False), did_you_mean("x", ["lstm"])
    (" Did you mean 'lstm'?", ' Did you mean seed?', '')
    """
    near = nearest(word, choices)
    if not near:
        return ""
    return f" Did you mean {near!r}?" if quoted else f" Did you mean {near}?"


def _import_kind(kind: str) -> None:
    _import_own(kind)
    _load_entry_points()


def _import_own(kind: str) -> None:
    if kind not in _imported_kinds:
        for module in KIND_MODULES.get(kind, ()):
            importlib.import_module(module)
        _imported_kinds.add(kind)


def _load_entry_points() -> None:
    """Import the plugins of other packages, once. A broken one is named in a warning, and leaves nothing behind."""
    global _entry_points_loaded
    if _entry_points_loaded:
        return
    _entry_points_loaded = True  # first, since the imported modules may ask the registry themselves
    for point in entry_points(group=ENTRY_POINT_GROUP):
        before = dict(_parts)
        try:
            point.load()
            guests = _take_guests(before)
            for name, part in guests.items():
                _import_own(name.split("/")[0])  # ours first: a package cannot take a name of this one
                plugin(name)(part)
                kind = name.split("/")[0]
                if kind not in KIND_MODULES and nearest(kind, KIND_MODULES):
                    warnings.warn(
                        f"{point.value} files {name!r}: {kind!r} is a new kind.{did_you_mean(kind, KIND_MODULES)}",
                        stacklevel=2,
                    )
        except (Exception, SystemExit) as error:  # whatever another package does wrong must not take this program down
            _take_guests(before)
            owner = point.dist.name if point.dist is not None else "an unknown package"
            warnings.warn(
                f"The plugins of the package {owner!r} (entry point {point.name} = {point.value}) were skipped: "
                f"{type(error).__name__}: {str(error).rstrip('.')}. Mend or uninstall that package.",
                stacklevel=2,
            )


def _take_guests(before: dict[str, Callable]) -> dict[str, Callable]:
    """Remove and return what other packages filed since ``before``. Parts of this one that came along stay filed."""
    guests = {
        name: part
        for name, part in _parts.items()
        if name not in before and part.__module__.split(".")[0] != __name__.split(".")[0]
    }
    for name in guests:
        del _parts[name]
    return guests
