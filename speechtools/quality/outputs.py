"""What networks of the kind ``quality`` return."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from speechtools.core.errors import ConfigError
from speechtools.core.registry import definition


class QualityOutputs(NamedTuple):
    """Outputs for a padded batch.

    Attributes
    ----------
    scores : Tensor
        (batch,)
    frame_scores : Tensor
        (batch, time)
    causes : Tensor or None
        Logits of the presence of each cause of bad quality, (batch, time, causes), in the order of the network's
        ``causes``; None if it has none.
    measures : dict
        Further scores (batch,), by the name of the measure, for the network's ``measures``.
    """

    scores: Tensor
    frame_scores: Tensor
    causes: Tensor | None = None
    measures: dict[str, Tensor] = {}


def gives_details(network: nn.Module) -> bool:
    """Whether a network takes ``details=True`` and then returns all outputs."""
    return hasattr(getattr(network, "module", network), "causes")


def all_outputs(network: nn.Module, feats: Tensor, lens: Tensor | None = None) -> QualityOutputs:
    """Outputs of a network for feats (batch, time, size); without causes and measures if it has none."""
    if gives_details(network):
        return network(feats, lens, details=True)
    return QualityOutputs(*network(feats, lens))


def check_outputs(network: nn.Module, measures: Sequence[str], option: str, origin: str) -> None:
    """Check that a network has an output for each of these measures, which an option asks for.

    Parameters
    ----------
    network : nn.Module
    measures : sequence of str
    option : str
        The option and its value, which begins the message.
    origin : str
        Where the measures are named, for the message.

    Raises
    ------
    ConfigError
        It has none for some of them.
    """
    if missing := [name for name in measures if name not in getattr(network, "measures", ())]:
        plugin = (definition(network) or {}).get("plugin", type(network).__name__)
        remedy = "Choose a model that takes measures, as with --quality_name=conv-blstm."
        if hasattr(network, "measures"):
            remedy = f"Add them to measures in quality_options, or leave that out: they come from {origin}."
        raise ConfigError(f"{option}: {plugin} has no output for {', '.join(missing)}. {remedy}")
