"""Lists of degradations, as the options of recipes have them: names, options by name, and named chains."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from speechtools.core.errors import ConfigError
from speechtools.core.registry import build
from speechtools.degradations.chain import parse_chain

#: Subsets of what no degradation of a list has made.
RESERVED = ("clean", "noisy")


class PlannedDegradation(NamedTuple):
    """A plugin of the kind ``degradation``, its options, and the name of the subset if it has one of its own."""

    name: str
    options: dict[str, Any]
    subset: str = ""


def parse_degradations(degradations: str | dict | Sequence[str | dict]) -> list[PlannedDegradation]:
    """Read a list of degradations: names, names with options, or chains, which may have names.

    They are written as in ``[clipping, {clipping: {level: 0.1}}, {phone: "noise(snr_db=20)+gsm"}, reverb+opus]``.

    Raises
    ------
    ConfigError
        It is not such a list.
    PluginError
        There is no such plugin, or it does not take such options.

    Examples
    --------
    >>> [tuple(degradation) for degradation in parse_degradations(["clipping", {"far": "noise+clipping(level=0.1)"}])]
    [('clipping', {}, ''), ('chain', {'steps': 'noise+clipping(level=0.1)'}, 'far')]
    """
    if isinstance(degradations, (str, dict)):
        degradations = [degradations]
    parsed: list[PlannedDegradation] = []
    for entry in degradations:
        if isinstance(entry, str):
            is_chain = any(mark in entry for mark in "(+")
            parsed.append(PlannedDegradation(*(("chain", {"steps": entry}) if is_chain else (_short(entry), {}))))
            continue
        if not isinstance(entry, dict) or not all(isinstance(value or {}, dict | str) for value in entry.values()):
            raise ConfigError(
                f"degradations={degradations!r}: {entry!r} is neither a name, nor options by name, nor a named chain. "
                "Pass a list such as [clipping, {clipping: {level: 0.1}}, {phone: noise+gsm}]."
            )
        for name, value in entry.items():
            if isinstance(value, str):
                if not re.fullmatch(r"[\w.-]+", str(name)) or name in RESERVED:
                    raise ConfigError(
                        f"degradations: {name!r} cannot be the name of a chain. Write letters, digits, hyphens and "
                        f"points, and neither {' nor '.join(RESERVED)}."
                    )
                parsed.append(PlannedDegradation("chain", {"steps": value}, str(name)))
            else:
                parsed.append(PlannedDegradation(_short(str(name)), value or {}))
    for degradation in parsed:
        build(f"degradation/{degradation.name}", **degradation.options)
    return parsed


def plugins_of(degradations: Sequence[str | dict]) -> list[str]:
    """The plugins of a list that :func:`parse_degradations` reads, and of its chains, as ``degradation/name``."""
    parsed = parse_degradations(degradations)
    names = {name for name, _, _ in parsed}
    chains = [options["steps"] for name, options, _ in parsed if name == "chain" and "steps" in options]
    names |= {step.name for steps in chains for step in parse_chain(steps)}
    return sorted(f"degradation/{name}" for name in names)


def _short(name: str) -> str:
    return name.removeprefix("degradation/")
