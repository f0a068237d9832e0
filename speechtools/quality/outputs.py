"""What networks of the kind ``quality`` return."""

from typing import NamedTuple

from torch import Tensor, nn


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
