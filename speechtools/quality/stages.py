"""What comes before the training of Quality-Net: the sets, whose enhanced part needs a model, and learnt features."""

import dataclasses
import logging
import os
import sys
from pathlib import Path

import torch
from torch import nn

from speechtools import training
from speechtools.core.rows import read_rows
from speechtools.corpora.noisy_speech import PreparedSets
from speechtools.inference import SpeechEnhancer
from speechtools.training.reproduction import earlier_stage

logger = logging.getLogger(__name__)


def prepare_sets(hparams: dict, device: str | None = None) -> PreparedSets:
    """The sets of the yaml. Where speech is to be enhanced, the model is trained first if it is not there yet.

    That training gets this yaml's speech and noises, and so sets the same speakers and noises aside. Another model may
    have been trained on what the test has: a warning says so, and the sets' origin, which stands beside all figures.
    On several processes, the first one works and the others wait.

    Raises
    ------
    ConfigError
        The enhancer is of another sample rate, or as the preparation raises it.
    SpeechtoolsError
        The enhancer's training failed.
    """
    return training.on_main_first(lambda: _prepare(hparams, device))


def _prepare(hparams: dict, device: str | None) -> PreparedSets:
    if not hparams["enhanced_share"]:
        return hparams["prepare"]()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    folder = hparams["enhancer"]
    if not folder:
        # Beside the recipe's script, wherever it was started from.
        recipe = Path(sys.argv[0]).absolute().parent / hparams["enhancer_recipe"]
        folder = earlier_stage(recipe, hparams["enhancer_yaml"], hparams["prepared_folder"], _options(hparams, device))
    enhancer = SpeechEnhancer.from_hparams(folder, run_opts={"device": device})
    enhancer.check_rate(hparams["sample_rate"])
    sets = hparams["prepare"](enhancer=folder, enhance=enhancer.enhance_waveforms)
    test = hparams["sources"].heard(read_rows(sets.manifests["test"], ["speaker", "noise"]))
    said = heard_of_test(getattr(enhancer.hparams, "heard", None), test)
    if said:
        logger.warning(
            "The model in %s %s. It may enhance the test better than it enhances what it has not heard. Leave enhancer "
            "out, and one is trained first that has heard nothing of the test.",
            folder,
            said,
        )
        sets = dataclasses.replace(sets, origin=f"{sets.origin}; the enhancer {said}")
    return sets


def heard_of_test(heard: dict[str, list[str]] | None, test: dict[str, list[str]]) -> str:
    """What a model heard of a test in its training, in words; "" where that is nothing.

    Parameters
    ----------
    heard, test : dict
        ``speakers`` and ``noises``, as :meth:`speechtools.corpora.noisy_speech.NoisySpeech.heard` names them; None: the
        model does not say.

    Example
    -------
    >>> test = {"speakers": ["timit-mabc0", "timit-fdef0"], "noises": ["street/1.wav"]}
    >>> heard_of_test({"speakers": ["timit-mabc0"], "noises": ["rain/1.wav"]}, test)
    "was trained on 1 of the test's 2 speakers and 0 of its 1 noise files"
    """
    if heard is None:
        return "does not say what it was trained on, and may have heard the test's speakers and noises"
    counts = {key: len(set(heard.get(key, ())) & set(test[key])) for key in ("speakers", "noises")}
    if not any(counts.values()):
        return ""
    return (
        f"was trained on {counts['speakers']} of the test's {len(test['speakers'])} speakers and {counts['noises']} of "
        f"its {len(test['noises'])} noise files"
    )


def _options(hparams: dict, device: str) -> dict:
    """What the enhancer's recipe is told: the same sources, and its own options."""
    options = hparams["sources"].options()
    options["data_seed"] = options.pop("seed")
    folder = os.path.abspath(hparams["prepared_folder"])
    return options | {"prepared_folder": folder, "device": device} | hparams["enhancer_options"]


def fit_features(quality: nn.Module, dataset, features: nn.Module, num_frames: int, folder: str | Path) -> None:
    """The first stage of a model of two, before its training: its features learn from spectra, without labels.

    Other models are left as they are. What was learnt is kept in ``folder``, for a run that goes on after a kill.

    Parameters
    ----------
    quality : nn.Module
        The model; of two stages where it has ``fit_features(frames)``.
    dataset
        Items with a waveform ``wav`` (samples,).
    features : nn.Module
        Waveforms (batch, samples) -> frames (batch, time, size).
    num_frames : int
        About so many are taken, of utterances spread over the whole set.
    """
    if not hasattr(quality, "fit_features"):
        return
    frames_each = 200

    def fit():
        step = max(1, len(dataset) * frames_each // num_frames)
        spectra = [features(dataset[number]["wav"].unsqueeze(0))[0] for number in range(0, len(dataset), step)]
        quality.fit_features(torch.cat(spectra))

    training.fit_once(quality, Path(folder) / "features.ckpt", fit)
