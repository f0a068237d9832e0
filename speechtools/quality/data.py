"""From a corpus and a folder of noises to labelled manifests for Quality-Net (paper, section 3.1).

The steps (read and divide the corpus, plan the mixtures, make them, enhance some, label all with PESQ) can be stopped
at any moment and started again: finished files stay, and a folder whose manifests are there is used as it is.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.rows import read_rows, write_rows
from speechtools.corpora.noisy_speech import NoisySpeech, PreparedSets
from speechtools.degradations import mixing
from speechtools.measures import pesq as pesq_labels

logger = logging.getLogger(__name__)

FIELDS = ["ID", "duration", "path", "speech", "pesq", "subset", "speaker", "noise_type", "noise", "snr_db"]
SPLITS = ("train", "valid", "test")
#: Raised by one when a change of the code makes other files from the same options.
VERSION = 1


def prepare(
    sources: NoisySpeech,
    save_folder: str | Path = "prepared",
    num_clean_train: int = 250,
    mixtures_per_utterance: int = 1,
    clean_copies: bool = False,
    train_snrs_db: Sequence[float] = (-10, -5, 0, 5, 10, 15, 20, 25),
    num_valid_utterances: int = 10,
    num_test_utterances: int = 100,
    test_snrs_db: Sequence[float] = (-6, 0, 6, 12, 18, 24),
    enhanced_share: float = 0.0,
    enhancer: str | Path | None = None,
    enhance: mixing.Enhance | None = None,
    scale: str = "raw_nb",
    num_workers: int | None = None,
) -> PreparedSets:
    """Make the training, validation and test sets; or find them made.

    Parameters
    ----------
    sources
        The speech, the noises, and who is in which split.
    save_folder
        Here a folder named after the fingerprint of all these options is made.
    enhanced_share
        Of the noisy training utterances, how many are enhanced (the paper: half); above 0, validation and test have
        every mixture enhanced as well.
    enhancer, enhance
        The folder of the trained model that enhances, which tells these sets from those of another one, and its
        function: a list of waveforms (samples,) at the sample rate -> a list of enhanced ones of the same lengths.
    others
        As named in ``mixing``; every count and SNR of section 3.1.

    Raises
    ------
    CorpusError, ConfigError
        As the readers, the mixing and the labelling raise them; each names what to do.
    """
    options = {
        key: value
        for key, value in locals().items()
        if key not in ("sources", "save_folder", "num_workers", "enhance", "enhancer")
    }
    _check_options(options)
    if enhanced_share:
        if enhancer is None or enhance is None:
            raise ConfigError(
                f"enhanced_share={enhanced_share} needs a trained model that enhances, and none was given. Give its "
                "folder `pretrained`, or set enhanced_share to 0."
            )
        options["enhancer"] = _digest(enhancer)
    noises = sources.noises()
    sets = sources.sets("quality", save_folder, SPLITS, options, noises, VERSION)
    if sets.complete():
        return sets

    folder, groups, seed = sets.folder, sources.speech(num_workers), sources.seed
    plan = mixing.plan_training(
        groups["train"],
        noises["train"],
        train_snrs_db,
        num_clean_train,
        mixtures_per_utterance,
        seed,
        clean_copies,
        enhanced_share,
    )
    for split, count in (("valid", num_valid_utterances), ("test", num_test_utterances)):
        plan += mixing.plan_test(
            groups[split], noises[split], test_snrs_db, count, split, seed, enhanced=enhanced_share > 0
        )

    audio_folder, rate = folder / "audio", sources.sample_rate
    as_they_are = [mixture for mixture in plan if mixture.subset != "enhanced"]
    durations, rejected = mixing.make_mixtures(as_they_are, audio_folder, rate, num_workers)
    if enhance is not None and enhanced_share:
        to_enhance = [mixture for mixture in plan if mixture.subset == "enhanced"]
        enhanced, refused = mixing.enhance_mixtures(to_enhance, audio_folder, rate, enhance)
        durations, rejected = durations | enhanced, rejected | refused
    made = [mixture for mixture in plan if mixture.mixture_id in durations]
    jobs = [
        pesq_labels.LabelJob(mixture.mixture_id, mixture.speech, audio_folder / f"{mixture.mixture_id}.wav")
        for mixture in made
    ]
    labels = pesq_labels.label(jobs, folder / "labels.csv", scale, num_workers)
    pesq_labels.add_rejected(folder / "rejected.csv", rejected)
    lost = len(plan) - len(labels)
    if lost:
        logger.warning(
            "%d of %d files were rejected; %s/rejected.csv lists them with their reasons.", lost, len(plan), folder
        )
    sets.write_about()
    for split in SPLITS:
        rows = [
            _row(mixture, durations[mixture.mixture_id], audio_folder, labels[mixture.mixture_id])
            for mixture in made
            if mixture.split == split and mixture.mixture_id in labels
        ]
        if not rows:
            raise CorpusError(
                f"Every file of the {split} set was rejected; {folder}/rejected.csv gives the reasons. Mend the corpus."
            )
        write_rows(sets.manifests[split], FIELDS, rows)
    return sets


def check_rows(manifest: str | Path, sample_rate: int = 16000) -> list[dict]:
    """Rows of a manifest whose audio is there, as long as it says, and labelled.

    Raises
    ------
    CorpusError
        The manifest is missing or torn, or names a file that is gone or shorter than it says: the first such row.
    """
    rows = read_rows(manifest, FIELDS)
    for number, row in enumerate(rows, start=2):
        try:
            seconds = audio.duration(row["path"])
        except AudioError as error:
            raise CorpusError(
                f"Row {number} of {manifest} ({row['ID']}): {error} Delete the manifest and start again: only what is "
                "missing is made anew."
            ) from error
        if seconds + 1 / sample_rate < float(row["duration"]):
            raise CorpusError(
                f"Row {number} of {manifest} ({row['ID']}) says {row['duration']} s, but {row['path']} holds "
                f"{seconds:.3f} s: the file was cut. Delete it and the manifest and start again."
            )
    return rows


def draw_utterances(rows: list[dict], count: int | None, seed: int = 0) -> list[dict]:
    """The rows of ``count`` drawn utterances, in their order; None takes all. A smaller draw lies within a larger one.

    Raises
    ------
    ConfigError
        There are not so many utterances.

    Example
    -------
    >>> [row["speech"] for row in draw_utterances([{"speech": "a"}, {"speech": "b"}, {"speech": "a"}], 2)]
    ['a', 'b', 'a']
    """
    if count is None:
        return rows
    utterances = sorted({str(row["speech"]) for row in rows})
    if not 0 < count <= len(utterances):
        raise ConfigError(
            f"num_train_utterances={count}, but the training set has {len(utterances)} utterances. "
            "Give a smaller number, or null for all."
        )
    order = np.random.default_rng([seed, 6]).permutation(len(utterances))
    drawn = {utterances[i] for i in order[:count]}
    return [row for row in rows if str(row["speech"]) in drawn]


# ---------------------------------------------------------------------------------------------------------- helpers


def _digest(model: str | Path) -> str:
    """A fingerprint of a trained model's files, whatever folder they lie in."""
    if not Path(model).is_dir():
        raise ConfigError(f"enhancer={str(model)!r} is no folder. Give the folder `pretrained` of a trained enhancer.")
    parts = hashlib.sha256()
    for path in sorted(Path(model).iterdir()):
        if path.suffix in (".yaml", ".ckpt"):
            parts.update(path.name.encode() + path.read_bytes())
    return parts.hexdigest()[:16]


def _check_options(options: dict) -> None:
    pesq_labels.scale(options["scale"])
    for name in ("train_snrs_db", "test_snrs_db"):
        mixing.check_snrs(name, options[name])
    if options["mixtures_per_utterance"] < 1:
        raise ConfigError(
            f"mixtures_per_utterance={options['mixtures_per_utterance']} would leave no noisy speech to train on. "
            "Give 1 or more."
        )
    if not 0 <= options["enhanced_share"] <= 1:
        raise ConfigError(f"enhanced_share={options['enhanced_share']} must lie between 0 (none) and 1 (all).")


def _row(mixture: mixing.Mixture, seconds: float, folder: Path, pesq: float) -> dict:
    return {
        "ID": mixture.mixture_id,
        "duration": f"{seconds:.6f}",
        "path": folder / f"{mixture.mixture_id}.wav",
        "speech": mixture.speech,
        "pesq": f"{pesq:.6f}",
        "subset": mixture.subset,
        "speaker": mixture.speaker,
        "noise_type": mixture.noise_type,
        "noise": mixture.noise or "",
        "snr_db": "" if mixture.snr_db is None else f"{mixture.snr_db:g}",
    }
