"""The options of a run, on their way from its command line to the objects that they build.

``resolve`` merges the recipe's yaml, its variants and the typed options, and replaces references; ``build`` makes the
objects. Nothing is built, and no folder is touched, before ``build``. Every mistake
raises a ConfigError that names the option or the key in its file.
"""

import copy
import dataclasses
import datetime
import inspect
import io
import logging
import re
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ruamel.yaml
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml.comments import CommentedMap

from speechtools.core import registry
from speechtools.core.checks import check_arguments, check_number
from speechtools.core.devices import check_precision
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.spelling import did_you_mean
from speechtools.training.command_line import RUN_OPTIONS, CommandLine
from speechtools.training.trees import dump, load_variants, nodes, plain, references, tag, update

logger = logging.getLogger(__name__)

#: Functions that a yaml may apply in a check; others may prepare data.
APPLIED = ("!apply:getattr", "!apply:speechtools.build", "!apply:speechtools.training.")

# ------------------------------------------------------------------------------------- which options identify a run

#: SpeechBrain's options that change the result of a training.
COMPUTING = frozenset(
    {
        "auto_mix_prec",
        "bfloat16_mix_prec",
        "eval_precision",
        "grad_accumulation_factor",
        "max_grad_norm",
        "precision",
        "remove_vector_weight_decay",
        "skip_nonfinite_grads",
    }
)
#: Options that change where and how fast a run computes, but not its result.
OF_THE_MACHINE = frozenset({"device", "prepared_folder", "num_workers", "noprogressbar"})
#: Options that may change when a run is continued. ``trials`` lets a finished run be tested on another list.
FREE_TO_CHANGE = frozenset(
    {"number_of_epochs", "num_workers", "ckpt_interval_steps", "ckpt_interval_minutes", "noprogressbar", "trials"}
)


def identity(resolved: str) -> dict[str, Any]:
    """Return the options of a resolved yaml that must be the same when a run is continued."""
    defaults = {key: getattr(sb.core.RunOptions, key) for key in COMPUTING}
    return {key: value for key, value in (defaults | plain(resolved)).items() if key not in FREE_TO_CHANGE}


#: Limits of options whose value is used after the data are prepared.
_LIMITS: tuple[tuple[str, dict], ...] = (
    ("batch_size steps_per_epoch sample_rate num_enrolment min_frames max_frames", {"low": 1, "whole": True}),
    ("window_frames window_hop_frames num_train_utterances max_nontargets num_frames", {"low": 1, "whole": True}),
    ("speakers_per_batch utterances_per_speaker", {"low": 2, "whole": True}),
    ("num_workers data_seed ckpt_interval_steps", {"low": 0, "whole": True}),
    ("budget_seconds halve_every lr_decay", {"low": 0, "above": True}),
)

# --------------------------------------------------------------------------------------------- merge, resolve, build


def merge(command_line: CommandLine) -> CommentedMap:
    """Merge a recipe's yaml with its base and the options of the command line.

    A yaml that begins with ``base: other.yaml`` is a variant and contains only what differs; the base may itself be a
    variant. ``include: [fragment.yaml]`` inserts the keys of files that several recipes share before a yaml's own.
    A single value may come from a file too, as in ``valid_noises: !include:noises.yaml``. SpeechBrain's options in
    :data:`COMPUTING`, such as ``precision``, may be in any yaml.

    Returns
    -------
    CommentedMap
        The tree of the yaml, its references not yet resolved.

    Raises
    ------
    ConfigError
        A file is missing or not valid, or an option is unknown or of the wrong type.
    """
    (_, tree), *variants = load_variants(command_line.yaml)
    defaults = copy.deepcopy(tree)
    for key in sorted(COMPUTING - defaults.keys()):  # which the Brain takes from a yaml, too
        defaults[key] = getattr(sb.core.RunOptions, key)
    for file, values in variants:
        checked = {key: _checked(defaults, key, value, str(value), f"{key} in {file}") for key, value in values.items()}
        update(tree, checked)
    run_opts = {key: getattr(command_line.run_opts, key) for key in sorted(command_line.run_opts.overridden_args)}
    options = command_line.options | {key: value for key, value in run_opts.items() if key in tree}
    for key, value in options.items():
        options[key] = _checked(defaults, key, value, command_line.typed.get(key, ""), f"--{key}")
    update(tree, options | {key: value for key, value in run_opts.items() if key in COMPUTING})
    return tree


def _checked(defaults: dict, key: str, value: Any, typed: str, place: str) -> Any:
    """Check the name and the type of an option against the yaml's default; ranges are checked by what takes them.

    Parameters
    ----------
    defaults : dict
        The tree of the outermost base.
    key, value, typed : str
        The option, as a Python value and as text.
    place : str
        Where the option stands, for messages.

    Returns
    -------
    object
        The value; the text, if the option is text and the value was read as a number or a date; a list of the value, if
        the option is a list.
    """
    if str(key).startswith("__"):
        return value
    if key not in defaults:
        known = [str(name) for name in defaults if not str(name).startswith("__")]
        dashes = "--" if place.startswith("--") else ""
        hint = did_you_mean(f"{dashes}{key}", [dashes + name for name in (*known, *sorted(RUN_OPTIONS))], quoted=False)
        raise ConfigError(f"Unknown option {place}.{hint or ' Options: ' + ', '.join(known) + '.'}")
    default = defaults[key]
    is_text = isinstance(default, str) or (
        tag(default) == "!ref" and re.search("[a-z]", re.sub("<[^>]*>", "", default.value))
    )
    if is_text and isinstance(value, int | float | datetime.date) and not isinstance(value, bool):
        return typed
    if is_text and default != "" and value == "":
        raise ConfigError(f"Invalid value for {place}: it is empty.")
    if isinstance(default, list) and not isinstance(value, list | None) and value != "":
        value = [value]
    expected = _mismatch(defaults, default, value)
    if expected:
        raise ConfigError(f"Invalid value for {place}: {value!r} is not {expected}.")
    return value


#: bool first, since True is an int as well.
_TYPES = {bool: "True or False", int: "a whole number", float: "a number", str: "text", list: "a list, as in [a, b]"}


def _mismatch(defaults: dict, default: Any, value: Any) -> str:
    """What a value must be to replace a default; empty if it fits. Null and lists are left to what takes them."""
    while tag(default) == "!ref" and re.fullmatch("<[^>.[]*>", default.value):
        default = defaults.get(default.value[1:-1])
    made_by = tag(default)
    if any(map(tag, nodes(value))) or default is None or made_by in ("!ref", "!PLACEHOLDER"):
        return ""
    if made_by:
        return f"allowed, because {made_by} makes this object. Change the options that it is made of"
    if isinstance(default, dict):
        if not isinstance(value, dict):
            return "a mapping, as in {a: 1}"
        if default and all(map(tag, default.values())) and not value.keys() <= default.keys():
            return f"allowed: it has the keys {', '.join(default)}"
        # Null removes an entry.
        given = {key: entry for key, entry in value.items() if entry is not None}
        return next(filter(None, (_mismatch(defaults, default.get(key), entry) for key, entry in given.items())), "")
    if isinstance(value, list | None) and not isinstance(default, bool | list):
        return ""
    kind, name = next((kind, name) for kind, name in _TYPES.items() if isinstance(default, kind))
    fits = isinstance(value, int | float if kind is float else kind) and value == value
    return "" if fits and (kind is bool or not isinstance(value, bool)) else name


def resolve(command_line: CommandLine, warn: bool = True) -> str:
    """Merge the yaml of a command line, import its plugins, replace its references, and return the yaml text.

    With ``warn``, keys of a variant that have no effect are logged.

    Raises
    ------
    ConfigError
        As for :func:`merge`; or a reference is unknown, circular or not valid, a ``!PLACEHOLDER`` is left, or a typed
        option has no effect.
    PluginError
        A module of ``__plugins`` cannot be imported.
    """
    path, tree = command_line.yaml, merge(command_line)
    text = io.StringIO(dump(tree))
    text.name = str(path)  # hyperpyyaml looks up !include beside this file
    for key, node in tree.items():
        for name in references(node):
            if name not in tree:
                hint = did_you_mean(name, tree, quoted=False)
                raise ConfigError(f"{key} in {path} refers to <{name}>, which is not a key.{hint}")
    modules = tree.get("__plugins") or []
    for module in modules if isinstance(modules, list) else [modules]:
        name = tag(module).removeprefix("!module:") or str(module)
        if re.search(r"[,\s]", name) and not Path(name).is_file():
            raise ConfigError(f'Invalid __plugins: {name!r}. Several modules are a list: __plugins="[a, b]".')
        registry.import_module(name)
    try:
        resolved = resolve_references(text).getvalue()
    except RecursionError as error:
        raise ConfigError(f"Cannot resolve {path}: a !ref refers to itself.") from error
    except (ValueError, TypeError, OSError) as error:
        reason = "".join(map(str, error.args)) if isinstance(error, ValueError) else error
        raise ConfigError(f"Cannot resolve {path}: {reason}.") from error
    values, defaults = plain(resolved), command_line.run_opts
    variant: dict[str, Any] = load_variants(path)[-1][1] if len(load_variants(path)) > 1 else {}
    for key, reason in _without_effect(tree, resolved, {**variant, **command_line.typed}):
        if key in command_line.typed:
            raise ConfigError(f"--{key}={command_line.typed[key]} has no effect: {reason}")
        if warn:
            logger.warning("%s in %s has no effect: %s", key, path, reason)
    # SpeechBrain accepts any number for these; a negative norm would reverse the gradients.
    check_number("--max_grad_norm", values.get("max_grad_norm", defaults["max_grad_norm"]), 0, above=True)
    factor = values.get("grad_accumulation_factor", defaults["grad_accumulation_factor"])
    check_number("--grad_accumulation_factor", factor, 1, whole=True)
    return resolved


def _without_effect(tree: dict, resolved: str, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys that are only offered to plugins, of which no chosen one takes them, and what to do about it."""
    used, unused = set(), {}
    for key, plugin, parameter, is_overruled in _uses(tree, ruamel.yaml.YAML().load(resolved)):
        has = not plugin or parameter in inspect.signature(registry.find(plugin)).parameters
        if has and not is_overruled:
            used.add(key)
        elif has or key not in unused:
            unused[key] = plugin, parameter, has
    for key in keys:
        if key in used or key not in unused:
            continue
        plugin, parameter, has = unused[key]
        if has:
            yield key, f"the further options of {plugin} set {parameter}, and come last. Set it in one place."
            continue
        others = [
            name
            for name in registry.available(plugin.split("/")[0])
            if parameter in inspect.signature(registry.find(name)).parameters
        ]
        yield (
            key,
            f"{plugin} has no parameter {parameter}. Leave it out, or choose a plugin that has it: "
            f"{', '.join(others) or 'none does'}.",
        )


def _uses(node: Any, value: Any) -> Iterator[tuple[str, str, str, bool]]:
    """Yield the options that a yaml node refers to, each with the plugin and parameter to which it is offered, if any.

    A node offers options to a plugin under ``offered``, or to the reader of its ``corpus`` under ``options``. ``value``
    is the resolved node. The last item is whether the ``options`` of the plugin set the parameter, too, and so come
    instead.
    """
    if not isinstance(node, dict) or not isinstance(value, dict):
        yield from ((name, "", "", False) for name in references(node))
        return
    plugin, slot = "", None
    last: dict[str, Any] = {}
    if tag(node) == "!apply:speechtools.build":
        plugin, slot, last = value["plugin"], "offered", value.get("options") or {}
    elif {"corpus", "options"} <= node.keys():
        plugin, slot = f"corpus/{value['corpus']}", "options"
    for key, child in node.items():
        if key == slot and isinstance(child, dict):
            offers = ((name, parameter) for parameter in child for name in references(child[parameter]))
            yield from ((name, plugin, parameter, parameter in last) for name, parameter in offers)
        else:
            yield from _uses(child, value.get(key))


def hide_notices() -> None:
    """Hide SpeechBrain's log lines about its patches of torch and about plots, which the recipes draw themselves."""
    for name in ("quirks", "train_logger"):
        logging.getLogger(f"speechbrain.utils.{name}").addFilter(_concerns_the_run)


def _concerns_the_run(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "quirks" not in text and "torchvision" not in text


def build(resolved: str, name: Path | str) -> dict[str, Any]:
    """Build the objects that a resolved yaml describes.

    Raises
    ------
    ConfigError
        A class does not exist, or does not accept its arguments.
    """
    try:
        return load_hyperpyyaml(resolved)
    except SpeechtoolsError:
        raise
    except Exception as error:  # from any class or function that the yaml names
        reason = ": ".join(str(argument) for argument in error.args) or type(error).__name__
        place = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        raise ConfigError(f"Cannot build {name}: {reason}. It was raised in {where}.") from error


def check(command_line: CommandLine) -> None:
    """Check the values of a run before anything is made: build its objects in a temporary folder, and drop them.

    Functions that a yaml applies are called only if they belong to ``speechtools.build`` or ``speechtools.training``:
    others may prepare data. The arguments of a function that prepares are checked by what
    :func:`speechtools.core.checks.checked_by` has attached to it.

    Raises
    ------
    ConfigError, PluginError, CorpusError
        A value is not valid.
    """
    with tempfile.TemporaryDirectory() as temporary:
        options = {**command_line.options, "output_folder": temporary}
        resolved = resolve(dataclasses.replace(command_line, options=options), warn=False)
        values, run_opts = plain(resolved), command_line.run_opts
        if problem := unused_corpus_options(command_line, values):
            raise ConfigError(problem)
        device = run_opts.device or ("cuda" if torch.cuda.is_available() else "cpu")
        for key in ("precision", "eval_precision"):
            typed = key in run_opts.overridden_args
            check_precision(values.get(key, run_opts[key]), device, f"--{key}" if typed else key)
        tree = ruamel.yaml.YAML().load(resolved)
        for keys, limits in _LIMITS:
            for key in keys.split():
                if tree.get(key) is not None:
                    check_number(key, tree[key], **limits)
        if {"min_frames", "max_frames"} <= tree.keys():
            check_number("max_frames", tree["max_frames"], tree["min_frames"])
        prepared = [key for key, value in tree.items() if any(map(_may_prepare, nodes(value)))]
        for key in prepared:
            del tree[key]
        for value in build(dump(tree), command_line.yaml).values():
            check_arguments(value)


def unused_corpus_options(command_line: CommandLine, values: dict) -> str:
    """Describe options that a yaml sets for other corpora than the one that it uses; empty if there are none.

    A corpus of the command line (``--corpus=…``) may leave those of the yaml without effect.
    """
    own = load_variants(command_line.yaml)[-1][1].get("corpus_options")
    corpora = values.get("corpus")
    corpora = [corpora] if isinstance(corpora, str) else corpora
    if "corpus" in command_line.typed or not own or not isinstance(own, dict) or not isinstance(corpora, list):
        return ""
    if set(corpora) & own.keys():
        return ""
    return (
        f"corpus_options in {command_line.yaml} has options of {', '.join(own)}, but the corpus is "
        f"{', '.join(corpora)}. Name them after that corpus, or leave them out."
    )


def _may_prepare(node: Any) -> bool:
    return tag(node).startswith("!apply:") and not tag(node).startswith(APPLIED)
