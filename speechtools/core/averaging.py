"""The mean of the weights of several trained models."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechtools.core import registry
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.model_card import model_card
from speechtools.core.pretrained import AnyModel, PretrainedModel

#: Facts that the mean of models does not have: what single models reach.
_OF_ONE_MODEL = ("reached",)
#: Largest difference between outputs of two components that compute the same, relative to the largest one.
_TOLERANCE = 1e-4


def average(
    interface: type[AnyModel], sources: Sequence[str | Path], weights: Sequence[float] | None = None
) -> tuple[AnyModel, list[str]]:
    """Average the weights of models of one architecture, such as those after several stages of a training.

    What was fitted to the weights of one model, such as the threshold of a speaker encoder, is dropped. All else is
    that of the first model.

    Parameters
    ----------
    interface : type
        The class that loads the models.
    sources : sequence of str or Path
        Two or more, as for ``from_hparams``.
    weights : sequence of float, optional
        One for each model, positive. Default: all are equal.

    Returns
    -------
    model : PretrainedModel
        Its facts have ``averaged``: the sources with their weights, which sum up to 1, and their facts.
    dropped : list of str
        Names of what was dropped.

    Raises
    ------
    ConfigError
        A model cannot be loaded, or has another architecture or other features than the first one; there is only one;
        or the weights are not valid.

    Examples
    --------
    >>> from speechtools.inference import SpeechEnhancer
    >>> enhancer, dropped = average(SpeechEnhancer, ["enhancer", "enhancer"], [1, 3])
    >>> [entry["weight"] for entry in enhancer.facts["averaged"]], dropped
    ([0.25, 0.75], [])
    """
    if len(sources) < 2:
        raise ConfigError(f"A mean needs at least 2 models, got {len(sources)}. Pass their folders.")
    weights = [1.0] * len(sources) if weights is None else list(weights)
    if len(weights) != len(sources):
        raise ConfigError(f"{len(weights)} weights for {len(sources)} models. Pass one for each, in the same order.")
    for weight in weights:
        check_number("weights", weight, 0, above=True)
    shares = [weight / sum(weights) for weight in weights]
    models = [interface.from_hparams(source, run_opts={"device": "cpu"}) for source in sources]
    result = models[0]
    for source, model in zip(sources[1:], models[1:], strict=True):
        if difference := _difference(result, model):
            raise ConfigError(
                f"{source} cannot be averaged with {sources[0]}: it has {difference}. Models have a mean if their "
                "architectures and features are the same."
            )
    entries = [
        {"model": str(source), "weight": share, "model_id": model.model_id, "facts": model.facts}
        for source, share, model in zip(sources, shares, models, strict=True)
    ]
    facts = _common_facts([model.facts for model in models])
    for name in result.MODULES_NEEDED:
        states = [model.mods[name].state_dict() for model in models]
        result.mods[name].load_state_dict({key: _mean([state[key] for state in states], shares) for key in states[0]})
    dropped = result.drop_fitted()
    omitted = (*_OF_ONE_MODEL, *dropped)
    result.facts = {key: value for key, value in facts.items() if key not in omitted} | {"averaged": entries}
    result.half_weights = all(model.half_weights for model in models)
    lines = [f"- `{entry['model']}`, weight {entry['weight']:.4g}\n" for entry in entries]
    lines += [f"\nFit again: {', '.join(dropped)}.\n"] if dropped else []
    card = model_card(interface, vars(result.hparams), result.facts)
    result.card = f"{card}\n## Origin\n\nThe mean of the weights of:\n\n{''.join(lines)}"
    return result, dropped


def _mean(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The weighted mean of tensors; of whole numbers, such as counts of batches, the first."""
    if not values[0].is_floating_point():
        return values[0]
    return sum((share * value.double() for share, value in zip(shares, values, strict=True)), torch.zeros(())).to(
        values[0].dtype
    )


def _common_facts(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts in which all models agree, what any of them was trained on, and the union of lists by name."""
    common = {}
    for key, value in facts[0].items():
        values: list[Any] = [other.get(key) for other in facts]
        if all(other == value for other in values):
            common[key] = value
        elif key == "trained_on":
            common[key] = "; ".join(dict.fromkeys(map(str, values)))
        elif all(isinstance(other, dict) and all(isinstance(v, list) for v in other.values()) for other in values):
            names = dict.fromkeys(name for other in values for name in other)
            common[key] = {name: sorted({v for other in values for v in other.get(name, [])}) for name in names}
    return common


# --------------------------------------------------------------------------------------------------------- differences


def _difference(first: PretrainedModel, other: PretrainedModel) -> str:
    """What the other model has that the first one has not; empty if their weights have a mean."""
    for name, value in _entries(first, other):
        before, after = registry.full_definition(value[0]), registry.full_definition(value[1])
        if before is None or after is None:
            if before is not after or value[0] != value[1]:
                return f"{_text(name, after or value[1])}, and the other has {_text(name, before or value[0])}"
            continue
        changed = _changed(before, after)
        if name in first.MODULES_NEEDED:
            is_same = changed is None or _compute_alike(first, other, name)  # dropout, for one, does not matter
        else:
            is_same = changed is None and _same_state(value[0], value[1])
        if not is_same:
            if changed is None:
                return f"other statistics in its {name}"
            return f"{changed}={after.get(changed)!r} in its {name}, and the other has {before.get(changed)!r}"
    return ""


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """The first argument in which two definitions differ."""
    return next((key for key in ("plugin", *after, *before) if before.get(key) != after.get(key)), None)


def _entries(first: PretrainedModel, other: PretrainedModel) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The values and components of two models by name, without those that are fitted to their weights."""
    one, two = vars(first.hparams), vars(other.hparams)
    for name in dict.fromkeys((*one, *two)):
        if name != "facts" and name not in first.FITTED:
            yield name, (one.get(name), two.get(name))


def _text(name: str, value: Any) -> str:
    plugin = value.get("plugin") if isinstance(value, dict) else None
    return f"no {name}" if value is None else f"{name}={plugin or value!r}"


def _same_state(one: Any, other: Any) -> bool:
    """Whether two components have the same tensors, such as statistics of features."""
    before, after = (built.state_dict() if isinstance(built, torch.nn.Module) else {} for built in (one, other))
    return before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def _compute_alike(first: PretrainedModel, other: PretrainedModel, name: str) -> bool:
    """Whether a component of both models computes the same with the weights of the other one."""
    own, weights = first.mods[name].state_dict(), other.mods[name].state_dict()
    if {key: value.shape for key, value in own.items()} != {key: value.shape for key, value in weights.items()}:
        return False
    own = {key: value.clone() for key, value in own.items()}
    wavs = 0.1 * torch.randn(1, first.hparams.sample_rate, generator=torch.Generator().manual_seed(0))
    try:
        first.mods[name].load_state_dict(weights)
        with torch.no_grad():
            one, two = first.response(wavs), other.response(wavs)
    finally:
        first.mods[name].load_state_dict(own)
    if one is None or two is None or one.shape != two.shape:
        return False
    return bool((one - two).abs().max() <= _TOLERANCE * two.abs().max())
