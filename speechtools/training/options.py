"""The options of a recipe's run, before anything is built from them: their names, their types, what a yaml refers to.

Whatever is wrong with the command line or with a yaml is a ConfigError that names the place to mend.
"""

import contextlib
import datetime
import functools
import inspect
import io
import math
import pydoc
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ruamel.yaml
import speechbrain as sb
import torch
from hyperpyyaml import resolve_references
from speechbrain.utils.run_opts import HELP_TEXTS

from speechtools.core.errors import ConfigError
from speechtools.core.registry import did_you_mean, misfits

#: SpeechBrain's own options of the command line; these two take several words.
_OF_MODULES = {"jit_module_keys", "compile_module_keys"}
THEIRS = set(HELP_TEXTS) | _OF_MODULES
#: Those of them that change what is computed: a run is to be continued with the same ones.
COMPUTING = {
    "auto_mix_prec",
    "bfloat16_mix_prec",
    "eval_precision",
    "grad_accumulation_factor",
    "max_grad_norm",
    "precision",
    "remove_vector_weight_decay",
    "skip_nonfinite_grads",
}


def read_command_line(argv: Sequence[str]) -> tuple[Path, sb.core.RunOptions, dict, dict[str, str]]:
    """The recipe's yaml, SpeechBrain's options and those of the recipe, of ``train.py hparams/x.yaml --key=value``.

    Those of the recipe come twice: as values, and as they were typed.

    Raises
    ------
    ConfigError
        No yaml; an option without a value or given twice; a value that is no valid yaml; a word that belongs to no
        option; a value that SpeechBrain's option cannot have, or a device that this machine does not have.

    Example
    -------
    >>> path, run_opts, given, typed = read_command_line(["hparams/ge2e.yaml", "--lr=0.10", "--device", "cpu"])
    >>> path.name, run_opts.device, given, typed
    ('ge2e.yaml', 'cpu', {'lr': 0.1}, {'lr': '0.10'})
    """
    words, paths, theirs, given, typed = list(argv), [], [], {}, {}
    while words:
        word = words.pop(0)
        key, equals, value = word.lstrip("-").partition("=")
        if word in ("-h", "--help"):
            theirs.append(word)
        elif re.match(r"-[a-zA-Z]", word):
            raise ConfigError(f"{word} begins with one dash, and options with two: write --{key}={value or '…'}.")
        elif not word.startswith("--"):
            paths.append(word)
        elif key in THEIRS:
            theirs.append(word)
            count = (
                0 if equals or getattr(sb.core.RunOptions, key) is False else len(words) if key in _OF_MODULES else 1
            )
            while count and words and not words[0].startswith("--"):
                theirs.append(words.pop(0))
                count -= 1
        else:
            if not equals:
                if not words or re.match(r"--?[a-zA-Z]", words[0]):
                    raise ConfigError(f"--{key} has no value. Write --{key}=…, or leave it out.")
                value = words.pop(0)
            if key in typed:
                raise ConfigError(f"--{key} is given twice. Leave one of them out.")
            given[key], typed[key] = _value(key, value), value
    if not paths and not theirs[:1] == ["--help"]:
        raise ConfigError(
            "The recipe's yaml is missing. Name it first, as in: python train.py hparams/<name>.yaml --key=value."
        )
    if len(paths) > 1:
        raise ConfigError(
            f"{paths[1]!r} belongs to no option: {paths[0]} is the yaml, and options read --key=value. A value with "
            "spaces stands in quotes."
        )
    return Path(*paths), _run_options([*paths, *theirs]), given, typed


def _value(key: str, text: str):
    try:
        return ruamel.yaml.YAML().load(text) if text else ""
    except ruamel.yaml.error.YAMLError as error:
        raise ConfigError(
            f"--{key}={text} is no valid yaml: {problem(error)}. Mend it; in quotes, where the shell would change it."
        ) from error


def _run_options(argv: list[str]) -> sb.core.RunOptions:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _, run_opts, _ = sb.core.RunOptions.from_command_line_args(argv)
    except SystemExit as end:
        if not end.code:  # --help
            print("\nand every key of the yaml: --key=value")
            raise
        raise ConfigError(f"{said.getvalue().rpartition('error: ')[2].strip()}. Mend it or leave it out.") from end
    if run_opts.device is not None:
        check_device(run_opts.device)
    return run_opts


def check_device(device: str) -> None:
    """Whether this machine has a device.

    Raises
    ------
    ConfigError
        torch knows no such device, or finds none here.

    Example
    -------
    >>> check_device("cpu")
    """
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"--device={device} is no device. Give cpu, cuda or cuda:1.") from error
    if asked.type == "cpu" and asked.index:
        raise ConfigError(f"--device={device}, but the CPU is one device. Give --device=cpu.")
    if asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"--device={device}, but torch finds {torch.cuda.device_count() or 'no'} GPU here. Leave it out, or give "
            "--device=cpu."
        )
    try:
        torch.zeros(1, device=asked).item()
    except (RuntimeError, AssertionError, ModuleNotFoundError) as error:  # meta has no numbers: a RuntimeError, too
        said = str(error).partition(". ")[0].rstrip(".")
        raise ConfigError(
            f"--device={device} cannot compute here: {said}. Leave it out, or give --device=cpu."
        ) from error


def problem(error: Exception) -> str:
    """What a yaml parser complains of, in one line, with the line in the file where it tells."""
    if isinstance(error, ruamel.yaml.error.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem} (line {error.problem_mark.line + 1})"
    return " ".join(str(error).split())


def load_yaml(path: Path) -> Any:
    """What a yaml file holds, its comments and tags kept.

    Raises
    ------
    ConfigError
        It cannot be read, or is no yaml.
    """
    try:
        return ruamel.yaml.YAML().load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Mend it there.") from error
    except ruamel.yaml.error.YAMLError as error:
        raise ConfigError(f"{path} is no valid yaml: {problem(error)}. Mend it there.") from error


def keys(text: io.StringIO) -> dict:
    """The keys of a yaml with what stands there; the stream is left at its beginning."""
    tree = ruamel.yaml.YAML().load(text)
    text.seek(0)
    return tree


# --------------------------------------------------------------------------------------------------- names and types


def check(
    text: io.StringIO,
    overrides: dict,
    path: Path,
    typed: dict[str, str],
    run_opts: sb.core.RunOptions | None = None,
) -> dict:
    """What a variant and the command line change of a yaml, if it can be so.

    An option keeps the type that the yaml gives it; where it goes to a function or class that says what it takes, as
    ``int | None``, that counts instead.

    Parameters
    ----------
    text : StringIO
        The yaml on which the others build; it is left at its beginning.
    overrides : dict
        What the variants and the command line change.
    path : Path
        The yaml that was asked for: so that a message can tell where the mistake stands.
    typed : dict
        The options of the command line, as they were typed.
    run_opts : RunOptions, optional
        SpeechBrain's options of the command line. Those that the yaml has, too, are among what is returned.

    Returns
    -------
    dict
        The overrides; a number or date that stands for text (a name, a folder) has become the text that was typed.

    Raises
    ------
    ConfigError
        An option is not in the yaml, is of another type, or lies outside its range.
    """
    tree = keys(text)
    base, checked = Path(text.name).name, {}
    theirs = {key: getattr(run_opts, key) for key in sorted(run_opts.overridden_args)} if run_opts else {}
    resolved = functools.cache(functools.partial(_resolved, text))  # takes a while, and few options need it

    def place(key: str, sign: str = "") -> str:
        if key in typed or key in theirs:
            return f"--{key}{sign and '='}"
        return f"{key} in {_holder(path, key)}{sign and ': '}"

    for key, value in overrides.items():
        if key not in tree:
            known = [str(name) for name in tree if not str(name).startswith("__")]
            if key in typed:
                near = did_you_mean(f"--{key}", [f"--{name}" for name in (*known, *THEIRS)], quoted=False)
            else:
                near = did_you_mean(key, known, quoted=False)
            raise ConfigError(f"{place(key)} is no option of {base}.{near or ' It has: ' + ', '.join(known) + '.'}")
        if key == "__plugins":  # one module or several, whatever the yaml has
            checked[key] = value
            continue
        expected = _misfit(tree, resolved, key, value)
        if expected and isinstance(value, int | float | datetime.date):
            as_text = typed.get(key, str(value))
            if not _misfit(tree, resolved, key, as_text):
                value, expected = as_text, ""
        if expected:
            raise ConfigError(f"{place(key, '=')}{value!r} cannot be: {expected}")
        checked[key] = value
    checked |= {key: value for key, value in theirs.items() if key in tree}
    for key, value in {**tree, **theirs, **checked}.items():
        expected = _outside(str(key), value)
        if expected:
            raise ConfigError(f"{place(key, '=')}{value!r} cannot be: {expected}.")
    return checked


def _holder(path: Path, key: str) -> Path:
    """The variant that holds a key: the one asked for, or one on which it builds."""
    content = load_yaml(path)
    return path if key in content or "base" not in content else _holder(path.parent / content["base"], key)


def _outside(key: str, value: Any) -> str:
    """What an option must be, where its name has a range and ``value`` lies outside; empty where all is well."""
    low, high = next((bounds for end, bounds in _RANGES.items() if key.endswith(end)), (-math.inf, math.inf))
    if value is None or _tag(value) or (not isinstance(value, int | float) and low == -math.inf):
        return ""
    if isinstance(value, int | float) and low <= value <= high:
        return ""
    if low == -math.inf:
        return "it is a number"
    if low == _ABOVE_0:
        return "it is above 0" + (f", and {high} at most" if high < math.inf else "")
    return f"it lies between {low} and {high}" if high < math.inf else f"it is {low} or more"


def _misfit(tree: dict, resolved: Callable[[], dict], key: str, value: Any) -> str:
    """What an option must be, where ``value`` cannot be its value; empty where it can."""
    default, found = tree[key], False
    tag = _tag(default)
    # What is included, or what a !ref of the variant gives, only the result tells.
    if tag == "!PLACEHOLDER" or tag.startswith("!include:") or any(map(_tag, nodes(value))):
        return ""
    for function, parameter in _receivers(tree, key):
        hints = misfits(function, {parameter: value})
        if hints:
            owner = f"{function.__module__}.{function.__qualname__}"
            return f"{owner} takes {hints[parameter]}.{_example(key, default)}"
        found = found or parameter in inspect.signature(function).parameters
    if tag == "!ref":
        default = resolved().get(key)
        if isinstance(default, str) and value == "":  # a folder or a name, from which others are made
            return "it is text, and not empty."
    elif _replaces(default, value):
        made = f"it is made by {tag}" if tag else "it is made of other options"
        return f"{made}. Change the options that go into it instead."
    if found or default is None:
        return ""
    for kind, name in _KINDS.items():
        if isinstance(default, kind):
            fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
            if fits and (kind is bool or not isinstance(value, bool)):
                return ""
            return f"it is {name}.{_example(key, default)}"
    return ""


def _replaces(default: Any, value: Any) -> bool:
    """Whether a plain value changes an object, or a mapping of nothing but objects, that a yaml makes."""
    if _tag(default) or (isinstance(default, dict) and default and all(map(_tag, default.values()))):
        return True
    if not isinstance(default, dict):
        return False
    if not isinstance(value, dict):
        return any(map(_tag, nodes(default)))
    return any(_replaces(default[key], value[key]) for key in value if isinstance(default.get(key), dict))


_ABOVE_0 = math.ulp(0.0)
#: Options whose names end so, and between what they lie.
_RANGES = {
    "seed": (0, 2**32 - 1),
    "share": (0, 1),
    "dropout": (0, 1),
    "compression": (_ABOVE_0, 1),
    "sample_rate": (1, 1_000_000),
    "number_of_epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "num_frames": (1, math.inf),
    "grad_accumulation_factor": (1, math.inf),
    "max_grad_norm": (_ABOVE_0, math.inf),
    "budget_seconds": (_ABOVE_0, math.inf),
    "halve_every": (_ABOVE_0, math.inf),
}
#: bool first, since True is an int as well.
_KINDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list, as in [a, b]",
    dict: "a mapping, as in {a: 1}",
}


def _example(key: str, default) -> str:
    return f" The yaml has {key}: {default}." if isinstance(default, int | float) else ""


def _receivers(tree: dict, key: str) -> Iterator[tuple[Callable, str]]:
    """Functions and classes with the parameter that gets the value of a key as it is, where its type is told.

    Those of parts are left to ``speechtools.build``, which knows the chosen part.
    """
    for node in nodes(tree):
        kind, _, name = _tag(node).partition(":")
        if kind not in ("!new", "!name", "!apply") or not isinstance(node, dict) or name == "speechtools.build":
            continue
        for parameter, value in node.items():
            if _tag(value) == "!ref" and value.value == f"<{key}>":
                with contextlib.suppress(pydoc.ErrorDuringImport, ValueError):  # told when it is built; a builtin
                    function = pydoc.locate(name)
                    if callable(function) and parameter in _annotated(function):
                        yield function, parameter


def _annotated(function) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.annotation is not each.empty}


# ------------------------------------------------------------------------------------------------- inside of a yaml


def _tag(node: Any) -> str:
    return getattr(getattr(node, "tag", None), "value", None) or ""


def _resolved(text: io.StringIO) -> dict:
    """The values of a yaml with its references resolved; none where it cannot be, which is told later."""
    try:
        return ruamel.yaml.YAML().load(resolve_references(text))
    except (ValueError, TypeError, OSError):
        return {}
    finally:
        text.seek(0)


def nodes(node: Any) -> Iterator[Any]:
    """A yaml tree's nodes, from the outermost on."""
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def references(node: Any, line: int = 1) -> Iterator[tuple[str, int]]:
    """The keys that the ``!ref`` and ``!copy`` of a yaml tree name, each with its line.

    Example
    -------
    >>> list(references(ruamel.yaml.YAML().load("a: 1\\nb: !ref <a>/x\\nc: !copy <d[e]>")))
    [('a', 2), ('d', 3)]
    """
    if isinstance(node, dict | list):
        places = (
            getattr(getattr(node, "lc", None), "data", None) or {}
        )  # not told of what a flow style or a merge holds
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            place = places.get(key)
            yield from references(value, place[-2] + 1 if place else line)
    elif _tag(node) in ("!ref", "!copy"):
        for name in re.findall(r"<([^>]*)>", node.value):
            yield re.split(r"[.\[]", name)[0], line
