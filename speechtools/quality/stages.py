"""Stages before the training of Quality-Net: the sets, whose enhanced speech needs a model, and learnt features."""

import dataclasses
import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.files import write_aside
from speechtools.core.registry import definition
from speechtools.core.rows import read_rows
from speechtools.corpora.noisy_speech import PreparedSets
from speechtools.enhancement.inference import SpeechEnhancer
from speechtools.quality.data import SPLITS
from speechtools.quality.inference import QualityNet
from speechtools.quality.rows import QualityRow

logger = logging.getLogger(__name__)


def prepare_sets(hparams: dict, train_first: Callable[..., Path], device: str | None = None) -> PreparedSets:
    """Prepare the sets of the yaml; where speech is to be enhanced and no model is named, train one first.

    Where shards replace the training set, it is not made.
    That training gets the speech and noises of this yaml, and so sets the same speakers and noises aside. Another model
    may have been trained on speakers or noises of the test: a warning says so, and the origin of the sets, which is
    printed with all results.

    Parameters
    ----------
    hparams : dict
        Of the yaml.
    train_first : callable
        Trains the enhancer: :func:`speechtools.training.earlier_stage`.
    device : str, optional
        Where the enhancer runs and trains. By default, the GPU if there is one.

    Raises
    ------
    ConfigError
        From the preparation, or the enhancer has another sample rate.
    SpeechtoolsError
        The training of the enhancer failed.
    """
    prepare = hparams["prepare"]
    if hparams.get("train_shards"):
        prepare = functools.partial(prepare, splits=SPLITS[1:])
    if not hparams["enhanced_share"]:
        return _named(hparams, prepare())
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    folder = hparams["enhancer"]
    if not folder:
        # Beside the recipe's script, wherever it was started from.
        recipe = Path(sys.argv[0]).absolute().parent / hparams["enhancer_recipe"]
        folder = train_first(recipe, hparams["enhancer_yaml"], hparams["prepared_folder"], _options(hparams, device))
    enhancer = SpeechEnhancer.from_hparams(folder, run_opts={"device": device})
    enhancer.check_rate(hparams["sample_rate"])
    sets = prepare(enhancer=folder, enhance=enhancer.enhance_waveforms)
    test = hparams["sources"].heard(read_rows(sets.manifests["test"], QualityRow))
    overlap = describe_overlap(enhancer.facts.get("heard"), test)
    if overlap:
        logger.warning(
            "The model in %s %s. It may enhance the test better than unknown speech and noise. Leave out enhancer to "
            "train one first on other speakers and noises.",
            folder,
            overlap,
        )
        sets = dataclasses.replace(sets, origin=f"{sets.origin}; the enhancer {overlap}")
    return _named(hparams, sets)


def _named(hparams: dict, sets: PreparedSets) -> PreparedSets:
    """The sets with an origin that says whether shards replace the training set."""
    if not hparams.get("train_shards"):
        return sets
    return dataclasses.replace(sets, origin=f"{sets.origin}; trained on shards")


def describe_overlap(training_set: dict[str, list[str]] | None, test: dict[str, list[str]]) -> str:
    """Describe what a model was trained on of a test; "" for nothing.

    Parameters
    ----------
    training_set, test : dict
        ``speakers`` and ``noises``, as :meth:`speechtools.corpora.noisy_speech.NoisySpeech.heard` names them; None if
        the model does not record them.

    Examples
    --------
    >>> test = {"speakers": ["timit-mabc0", "timit-fdef0"], "noises": ["street/1.wav"]}
    >>> describe_overlap({"speakers": ["timit-mabc0"], "noises": ["rain/1.wav"]}, test)
    "was trained on 1 of the test's 2 speakers and 0 of its 1 noise files"
    """
    if training_set is None:
        return "does not record its training data, which may include the test's speakers and noises"
    counts = {key: len(set(training_set.get(key, ())) & set(test[key])) for key in ("speakers", "noises")}
    if not any(counts.values()):
        return ""
    return (
        f"was trained on {counts['speakers']} of the test's {len(test['speakers'])} speakers and {counts['noises']} of "
        f"its {len(test['noises'])} noise files"
    )


def refuse_other_sets(run: str | Path, sets: PreparedSets, ratings: str = "") -> None:
    """Record the sets in the folder of a run, and refuse to continue a run that was trained on others.

    ``ratings`` identifies those that are learned besides.

    Raises
    ------
    ConfigError
        The run has checkpoints of a training on other sets.
    """
    record, current = Path(run) / "sets.txt", f"{sets.folder.name} {ratings}".strip()
    former = record.read_text(encoding="utf-8").strip() if record.is_file() else current
    if former != current and any(Path(run).glob("save/CKPT*")):
        raise ConfigError(
            f"{run} was trained on {former} and this run has {current}: the labels, their measure or the corpus have "
            "changed. Use another --name, or delete that folder."
        )
    with write_aside(record) as aside:
        aside.write_text(f"{current}\n", encoding="utf-8")


def check_start(start: QualityNet, sample_rate: int, features: nn.Module, quality: nn.Module | None = None) -> None:
    """Check that a model to start from takes the recipe's sample rate (Hz) and features, and is the same network.

    A network or features can also start from a class that it names as ``starts_from``, as those for streams do.

    Raises
    ------
    ConfigError
        It does not, or is not.
    """
    start.check_rate(sample_rate)
    for ours, its, remedy in (
        (quality, start.mods.quality, "Add --quality_name={}, or name a model of this kind."),
        (features, start.features, "Add --features_name={}, or name a model that takes these features."),
    ):
        if ours is not None and type(its) not in (type(ours), getattr(ours, "starts_from", None)):
            name = _plugin(its)
            raise ConfigError(
                f"The model that start_from names has {name}, and this run has {_plugin(ours)}. "
                f"{remedy.format(name.rpartition('/')[2])}"
            )
    settings = ["n_fft", "hop_length", "log1p", "n_mels", "floor", "f_min", "parts"]
    if type(features) is type(start.features):
        settings.append("level")
    for name in settings:
        ours, its = getattr(features, name, None), getattr(start.features, name, None)
        if ours != its:
            option = "input_size" if name == "n_mels" else name
            raise ConfigError(f"The model that start_from names was trained with {name}={its}. Add --{option}={its}.")


def check_equalizer(max_db: float, features: nn.Module) -> None:
    """Check that an equalizer of so many dB, if it is above 0, gets magnitudes, which it multiplies by its gains.

    Raises
    ------
    ConfigError
        The features are logarithms or of another kind, or ``max_db`` is negative.
    """
    check_number("equalizer_db", max_db, 0)
    if max_db and not getattr(features, "is_magnitude", False):
        raise ConfigError(
            f"equalizer_db={max_db:g} multiplies magnitudes, which {_plugin(features)} does not return. Set "
            "--equalizer_db=0, or use --features_name=magnitude."
        )


def _plugin(module: nn.Module) -> str:
    return (definition(module) or {}).get("plugin", type(module).__name__)


def _options(hparams: dict, device: str) -> dict:
    """Options of the enhancer's recipe: the same sources, and its own options."""
    options = hparams["sources"].options()
    options["data_seed"] = options.pop("seed")
    folder = os.path.abspath(hparams["prepared_folder"])
    return options | {"prepared_folder": folder, "device": device} | hparams["enhancer_options"]


def fit_features(quality: nn.Module, dataset, features: nn.Module, num_frames: int) -> None:
    """Train the first stage of a two-stage model: its features learn from spectra, without labels.

    Parameters
    ----------
    quality : nn.Module
        The model, which has ``fit_features(frames)``.
    dataset
        Items with a waveform ``wav`` (samples,).
    features : nn.Module
        Waveforms (batch, samples) -> frames (batch, time, size).
    num_frames : int
        About how many frames to use, from utterances spread over the whole set.
    """
    check_number("num_frames", num_frames, 1)
    frames_per_utterance = 200  # about
    step = max(1, len(dataset) * frames_per_utterance // num_frames)
    spectra = [features(dataset[number]["wav"].unsqueeze(0))[0] for number in range(0, len(dataset), step)]
    quality.fit_features(torch.cat(spectra))  # type: ignore[operator]
