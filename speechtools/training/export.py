"""Export of a trained model as a folder that the pretrained interfaces load."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechtools.core.errors import ConfigError
from speechtools.core.model_card import model_card
from speechtools.core.model_folder import write_model
from speechtools.core.spelling import did_you_mean


def export(
    hparams: Mapping[str, Any],
    keys: Sequence[str],
    modules: Mapping[str, torch.nn.Module],
    facts: Mapping[str, Any] | None = None,
    interface: type | None = None,
    half: bool = False,
) -> Path:
    """Write ``pretrained/`` into the folder of a run. Call it only on the first process.

    Parameters
    ----------
    hparams : mapping
        Of the run.
    keys : sequence of str
        Names of what inference needs, in ``hparams`` or ``facts``: plugins that the yaml builds by
        ``speechtools.build``, rates, scales, thresholds.
    modules : mapping
        The trained modules by name. The names are among ``keys``.
    facts : mapping, optional
        Further facts, such as ``trained_on`` and the metrics ``reached``.
    interface : type, optional
        The class that loads the model, such as ``QualityNet``; the model card names it.
    half : bool
        Write the weights as float16, which halves the size.

    Returns
    -------
    Path
        The folder, as ``from_hparams`` of the pretrained interfaces takes it.

    Raises
    ------
    ConfigError
        A key does not exist, or is an object that ``speechtools.build`` did not build.
    """
    facts = facts or {}
    known = {**hparams, **facts}
    for key in keys:
        if key not in known:
            raise ConfigError(f"Cannot export {key!r}: the run has no such key.{did_you_mean(key, known)}")
    entries = {key: known[key] for key in keys}
    further = {key: value for key, value in facts.items() if key not in keys}
    plain = {name: getattr(module, "module", module) for name, module in modules.items()}  # without its DDP wrapper
    card = model_card(interface, entries, further)
    name = interface.__name__ if interface else None
    return write_model(Path(hparams["output_folder"]) / "pretrained", entries, plain, further, card, name, half)
