"""From a corpus and a folder of noises to labelled manifests for Quality-Net (paper, section 3.1).

The four steps (read and divide the corpus, plan the mixtures, make them, label them with PESQ) can be stopped at any
moment and started again: finished files stay, and a folder whose manifests are there is used as it is.
"""

import functools
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechtools.data import audio, mixing, pesq_labels
from speechtools.data.corpora.builtin import builtin_noises
from speechtools.data.manifests import Utterance, fingerprint, read_rows, write_aside, write_rows
from speechtools.data.noise_generators import TEST_NOISES
from speechtools.data.processes import cpu_count, map_in_processes
from speechtools.data.reading import each_corpus
from speechtools.errors import AudioError, ConfigError, CorpusError

logger = logging.getLogger(__name__)

FIELDS = ["ID", "duration", "path", "speech", "pesq", "subset", "speaker", "noise_type", "noise", "snr_db"]
SPLITS = ("train", "valid", "test")
#: Raised by one when a change of the code makes other files from the same options.
VERSION = 1


@dataclass(frozen=True)
class QualitySets:
    """Where the manifests lie, and what the figures printed from them must say of their origin."""

    folder: Path
    manifests: dict[str, Path]
    origin: str


def prepare(
    corpus: str | Sequence[str] = "builtin",
    data_folder: str | Path | Sequence[str | Path] = "",
    save_folder: str | Path = "prepared",
    noise_folder: str | Path | Sequence[str | Path] = "",
    test_noise_folder: str | Path | Sequence[str | Path] = "",
    corpus_options: dict | None = None,
    min_range_db: float = 0.0,
    heldout_share: float = 0.25,
    valid_share: float = 0.35,
    num_clean_train: int = 250,
    num_train_utterances: int | None = None,
    mixtures_per_utterance: int = 1,
    clean_copies: bool = False,
    train_snrs_db: Sequence[float] = (-10, -5, 0, 5, 10, 15, 20, 25),
    num_train_noises: int | None = 90,
    num_valid_utterances: int = 10,
    valid_noises: Sequence[str] | int = 4,
    num_test_utterances: int = 100,
    test_snrs_db: Sequence[float] = (-6, 0, 6, 12, 18, 24),
    test_noises: dict | Sequence[str] = TEST_NOISES,
    scale: str = "raw_nb",
    sample_rate: int = 16000,
    seed: int = 0,
    num_workers: int | None = None,
) -> QualitySets:
    """Make the training, validation and test sets; or find them made.

    Arguments
    ---------
    corpus, data_folder
        Name of a corpus reader and the folder it reads; or lists of one length, to join several corpora.
    save_folder
        Here a folder named after the fingerprint of all these options is made.
    noise_folder
        Noises of training and validation: a folder or several; empty means the built-in, generated ones, and a list
        may also hold ``builtin``, to train on them besides recordings.
    test_noise_folder
        Noises of the test; empty means: those of ``noise_folder`` where they match ``test_noises``, else the built-in.
    corpus_options
        Further arguments of readers, by their names: ``{builtin: {num_train_speakers: 60}}``.
    min_range_db
        Leave out utterances whose frame levels (25 ms) span less than this from their 5th to their 95th percentile:
        recordings with audible background cannot serve as clean references. 0 takes all.
    others
        As named in ``mixing``; every count, SNR and noise list of section 3.1.

    Raises
    ------
    CorpusError, ConfigError
        As the readers, the mixing and the labelling raise them; each names what to do.
    """
    # A relative path means another folder when the run is started from elsewhere.
    data_folder, noise_folder, test_noise_folder = map(_absolute, (data_folder, noise_folder, test_noise_folder))
    options = {key: value for key, value in locals().items() if key not in ("save_folder", "num_workers")}
    _check_options(options)
    num_workers = num_workers or cpu_count()
    folder = Path(save_folder).absolute() / f"quality-{fingerprint(options | {'version': VERSION})}"
    manifests = {split: folder / f"{split}.csv" for split in SPLITS}
    noises = _read_noises(noise_folder, test_noise_folder, test_noises, valid_noises, num_train_noises, seed)
    sets = QualitySets(folder, manifests, describe(corpus, noises))
    if all(path.exists() for path in manifests.values()):
        logger.info("The sets in %s are complete and used as they are: %s", folder, sets.origin)
        return sets
    logger.info("Preparing the sets in %s: %s", folder, sets.origin)

    groups = _read_and_divide(
        corpus,
        data_folder,
        corpus_options or {},
        min_range_db,
        heldout_share,
        valid_share,
        sample_rate,
        seed,
        num_workers,
    )
    if num_train_utterances is not None:
        if not 0 < num_train_utterances <= len(groups["train"]):
            raise ConfigError(
                f"num_train_utterances={num_train_utterances}, but the training speakers have {len(groups['train'])} "
                "utterances. Give a smaller number, or null for all."
            )
        drawn = np.random.default_rng([seed, 6]).permutation(len(groups["train"]))[:num_train_utterances]
        groups["train"] = [groups["train"][i] for i in sorted(drawn)]
    plan = mixing.plan_training(
        groups["train"], noises["train"], train_snrs_db, num_clean_train, mixtures_per_utterance, seed, clean_copies
    )
    plan += mixing.plan_test(groups["valid"], noises["valid"], test_snrs_db, num_valid_utterances, "valid", seed)
    plan += mixing.plan_test(groups["test"], noises["test"], test_snrs_db, num_test_utterances, "test", seed)

    audio_folder = folder / "audio"
    durations, rejected = mixing.make_mixtures(plan, audio_folder, sample_rate, num_workers)
    made = [mixture for mixture in plan if mixture.mixture_id in durations]
    jobs = [
        pesq_labels.LabelJob(mixture.mixture_id, mixture.speech, audio_folder / f"{mixture.mixture_id}.wav")
        for mixture in made
    ]
    labels = pesq_labels.label(jobs, folder / "labels.csv", scale, num_workers)
    _add_rejected(folder / "rejected.csv", rejected)
    lost = len(plan) - len(labels)
    if lost:
        logger.warning(
            "%d of %d files were rejected; %s/rejected.csv lists them with their reasons.", lost, len(plan), folder
        )
    with write_aside(folder / "about.json") as aside:
        aside.write_text(json.dumps({"origin": sets.origin, **options}, indent=1, default=str))
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
        write_rows(manifests[split], FIELDS, rows)
    return sets


def describe(corpus: str | Sequence[str], noises: dict[str, mixing.NoiseTypes]) -> str:
    """Words that stand wherever figures of these sets are printed; synthetic speech and noise are called so."""
    names = [corpus] if isinstance(corpus, str) else list(corpus)
    speech = " + ".join("built-in synthetic speech" if name == "builtin" else name for name in names)
    kinds = {split: _kind(types) for split, types in noises.items()}
    if kinds["test"] == kinds["train"]:
        return f"{speech}, {kinds['test']} noises"
    return f"{speech}, {kinds['train']} noises, test noises {kinds['test']}"


def _kind(types: mixing.NoiseTypes) -> str:
    own = builtin_noises()
    kinds = {"generated" if path.parent == own else "recorded" for files in types.values() for path in files}
    return " and ".join(sorted(kinds, reverse=True))


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


def level_range_db(samples: np.ndarray, sample_rate: int) -> float:
    """95th minus 5th percentile of the levels (dB) of 25 ms frames: a rough measure of how quiet the background is."""
    size = round(0.025 * sample_rate)
    count = len(samples) // size
    if count == 0:
        return 0.0
    power = np.square(samples[: count * size].reshape(count, size), dtype=np.float64).mean(axis=1)
    # (frames,)
    levels = 10 * np.log10(power + 1e-10)
    return float(np.subtract(*np.percentile(levels, [95, 5])))


# --------------------------------------------------------------------------------------------------------- the steps


def _read_and_divide(
    corpus, data_folder, corpus_options, min_range_db, heldout_share, valid_share, sample_rate, seed, num_workers
) -> dict[str, list[Utterance]]:
    names = [corpus] if isinstance(corpus, str) else list(corpus)
    folders = [data_folder] if isinstance(data_folder, (str, Path)) else list(data_folder)

    def usable(utterances):
        utterances = [u for u in utterances if pesq_labels.MIN_SECONDS <= u.duration <= pesq_labels.MAX_SECONDS]
        return _quiet_background(utterances, min_range_db, sample_rate, num_workers) if min_range_db > 0 else utterances

    groups: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for utterances in each_corpus(names, folders, corpus_options):
        for split, members in mixing.split_speakers(usable(utterances), heldout_share, valid_share, seed).items():
            groups[split] += members
    return groups


def _quiet_background(utterances, min_range_db, sample_rate, num_workers) -> list[Utterance]:
    work = functools.partial(_range_of, sample_rate=sample_rate)
    ranges = list(map_in_processes(work, utterances, num_workers, "measuring levels", chunksize=32))
    kept = [u for u, range_db in zip(utterances, ranges, strict=True) if range_db >= min_range_db]
    logger.info("%d of %d utterances have a level range of at least %g dB", len(kept), len(utterances), min_range_db)
    if not kept:
        raise ConfigError(
            f"No utterance has a level range of {min_range_db:g} dB; the largest is {max(ranges):.1f} dB."
        )
    return kept


def _range_of(utterance: Utterance, sample_rate: int) -> float:
    try:
        return level_range_db(audio.read(utterance.path, sample_rate), sample_rate)
    except AudioError as error:
        warnings.warn(f"{utterance.utt_id} is left out: {error}", stacklevel=1)
        return float("-inf")


def _read_noises(noise_folder, test_noise_folder, test_noises, valid_noises, num_train_noises, seed):
    folders = [noise_folder] if isinstance(noise_folder, str) else noise_folder
    recorded = [folder for folder in folders if folder not in ("", "builtin")]
    types = mixing.read_noise_types(recorded) if recorded else {}
    generated = mixing.read_noise_types(builtin_noises())
    if not recorded:
        types = generated
    elif len(recorded) < len(folders):
        for name, files in generated.items():
            if name not in TEST_NOISES:  # beside recordings they have no place: they would be trained on
                types.setdefault(name, []).extend(files)
        types = dict(sorted(types.items()))
    test_types = mixing.read_noise_types(test_noise_folder) if test_noise_folder else types
    if test_types is types and recorded and set(test_noises) == set(TEST_NOISES) and not set(TEST_NOISES) & set(types):
        asked = [test_noises[name] for name in TEST_NOISES] if isinstance(test_noises, dict) else list(TEST_NOISES)
        if asked == list(TEST_NOISES):
            test_types = generated
            logger.warning(
                "%s has none of the test noises %s: the test uses the generated ones. Set test_noise_folder or "
                "test_noises to use recordings.",
                recorded,
                ", ".join(TEST_NOISES),
            )
    return mixing.split_noises(types, test_noises, valid_noises, num_train_noises, seed, test_types)


def _absolute(folders):
    """Paths as absolute text; "" and "builtin" stand for what is made, and a list stays one."""
    if isinstance(folders, (str, Path)):
        return str(folders) if str(folders) in ("", "builtin") else str(Path(folders).expanduser().absolute())
    return [_absolute(folder) for folder in folders]


def _check_options(options: dict) -> None:
    pesq_labels.scale(options["scale"])
    for name in ("train_snrs_db", "test_snrs_db"):
        values = options[name]
        if not isinstance(values, (list, tuple)) or not values or not all(isinstance(v, (int, float)) for v in values):
            raise ConfigError(f"{name}={values!r} must be a list of one or more SNRs in dB, as in [-6, 0, 6].")
    if options["mixtures_per_utterance"] < 1:
        raise ConfigError(
            f"mixtures_per_utterance={options['mixtures_per_utterance']} would leave no noisy speech to train on. "
            "Give 1 or more."
        )


def _add_rejected(path: Path, reasons: dict[str, str]) -> None:
    """Files that could not be mixed join those that could not be labelled."""
    fields = ["id", "degraded", "reason"]
    rows = read_rows(path, fields) if path.exists() else []
    write_rows(path, fields, rows + [{"id": name, "degraded": "", "reason": why} for name, why in reasons.items()])


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
