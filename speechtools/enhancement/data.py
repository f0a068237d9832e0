"""Manifests for training and testing an enhancer (Quality-Net paper, section 3.1), and the judging of what it makes.

Training and validation mixtures are listed, not written: they are mixed when they are read. The test mixtures are
written and judged by PESQ and STOI once, so that any enhancer can be compared with them.
"""

import functools
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError, CorpusError, SpeechtoolsError
from speechtools.core.jobs import map_in_processes
from speechtools.core.rows import read_rows, write_rows
from speechtools.corpora.noisy_speech import NoisySpeech, PreparedSets
from speechtools.degradations import mixing
from speechtools.measures import pesq as pesq_labels

logger = logging.getLogger(__name__)

_MIXTURE_FIELDS = ["ID", "duration", "speech", "speaker", "noise_type", "noise", "snr_db", "seed"]
#: Columns of the manifests; those of the test also have the noisy file and how good it is.
FIELDS = {
    "train": _MIXTURE_FIELDS,
    "valid": _MIXTURE_FIELDS,
    "test": [*_MIXTURE_FIELDS, "heard", "path", "pesq", "stoi"],
}
#: Raised by one when a change of the code makes other files from the same options.
VERSION = 1


def prepare(
    sources: NoisySpeech,
    save_folder: str | Path = "prepared",
    num_train_utterances: int = 200,
    num_valid_utterances: int = 10,
    num_test_utterances: int = 10,
    snrs_db: Sequence[float] = (-8, -4, 4, 8),
    scale: str = "raw_nb",
    num_workers: int | None = None,
) -> PreparedSets:
    """Make the training, validation and test manifests; or find them made.

    Each drawn utterance meets every noise type at every SNR. Training has the speakers and noises that ``sources`` set
    aside for the enhancer; the test has speakers that neither it nor Quality-Net has heard, with noise types that
    nobody has heard (``heard`` is ``no``) and with those of the training (``yes``).

    Raises
    ------
    CorpusError, ConfigError
        As the readers, the mixing and the labelling raise them; each names what to do.
    """
    if not (sources.enhancer_share and sources.enhancer_noises):
        raise CorpusError(
            f"enhancer_share={sources.enhancer_share} and enhancer_noises={sources.enhancer_noises} set no speech or "
            "no noise aside to train an enhancer on. Give both, as in 0.5 and 10."
        )
    options = {key: value for key, value in locals().items() if key not in ("sources", "save_folder", "num_workers")}
    pesq_labels.scale(scale)
    mixing.check_snrs("snrs_db", snrs_db)
    noises = sources.noises()
    sets = sources.sets("enhancement", save_folder, FIELDS, options, noises, VERSION)
    if sets.complete():
        return sets

    folder, groups = sets.folder, sources.speech(num_workers)
    durations = {utterance.path: utterance.duration for members in groups.values() for utterance in members}
    plans = {
        split: _noisy_only(mixing.plan_test(groups[group], types, snrs_db, count, split, sources.seed))
        for split, group, types, count in (
            ("train", "enhancer", noises["enhancer"], num_train_utterances),
            ("valid", "valid", noises["valid"], num_valid_utterances),
            ("test", "test", noises["test"] | noises["enhancer"], num_test_utterances),
        )
    }
    noisy = folder / "noisy"
    _, rejected = mixing.make_mixtures(plans["test"], noisy, sources.sample_rate, num_workers)
    pairs = {m.mixture_id: (m.speech, noisy / f"{m.mixture_id}.wav") for m in plans["test"]}
    judged = judge(pairs, folder / "labels.csv", scale, sources.sample_rate, num_workers, rejected)
    if not judged:
        raise CorpusError(f"Every file of the test was rejected; {folder}/rejected.csv gives the reasons.")
    sets.write_about()
    for split, plan in plans.items():
        rows = [_row(mixture, durations[mixture.speech]) for mixture in plan]
        if split == "test":
            rows = [
                row
                | {"heard": "yes" if row["noise_type"] in noises["enhancer"] else "no"}
                | {"path": pairs[row["ID"]][1], **judged[row["ID"]]}
                for row in rows
                if row["ID"] in judged
            ]
        write_rows(sets.manifests[split], FIELDS[split], rows)
    return sets


def judge(
    pairs: dict[str, tuple[Path, Path]],
    labels_csv: Path,
    scale: str = "raw_nb",
    sample_rate: int = 16000,
    num_workers: int | None = None,
    rejected: dict[str, str] | None = None,
) -> dict[str, dict[str, float]]:
    """PESQ and STOI of files against their references, by id: ``{"pesq": …, "stoi": …}``.

    Parameters
    ----------
    pairs : dict
        By id, the clean reference and the file to judge, of one length.
    labels_csv : Path
        Where the PESQ labels go, as :func:`speechtools.measures.pesq.label` writes them. A file that PESQ or STOI
        cannot judge is missing in the result, with its reason in ``rejected.csv`` beside them.
    rejected : dict
        The reason by id, of files that could not be made: they are not judged, and join the others.
    """
    rejected = dict(rejected or {})
    pairs = {name: pair for name, pair in pairs.items() if name not in rejected}
    jobs = [pesq_labels.LabelJob(name, reference, path) for name, (reference, path) in pairs.items()]
    labels = pesq_labels.label(jobs, labels_csv, scale, num_workers)
    work = functools.partial(_stoi_of, sample_rate=sample_rate)
    found = map_in_processes(work, [pairs[name] for name in labels], num_workers, "STOI")
    judged: dict[str, dict[str, float]] = {}
    for (name, pesq), value in zip(labels.items(), found, strict=True):
        if isinstance(value, str):
            rejected[name] = value
        else:
            judged[name] = {"pesq": pesq, "stoi": value}
    pesq_labels.add_rejected(labels_csv.with_name("rejected.csv"), rejected)
    for name, reason in rejected.items():
        logger.warning("%s is left out: %s", name, reason)
    return judged


def stoi(clean: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al., 2011) of (samples,) against its clean original, up to 1.

    Raises
    ------
    AudioError
        There is less than about 0.4 s of speech, which the measure needs.
    SpeechtoolsError
        The package ``pystoi`` is not installed.
    """
    try:
        import pystoi
    except ImportError as error:
        raise SpeechtoolsError(
            f"STOI needs the package 'pystoi', which cannot be imported ({error}). It comes with: "
            'pip install "speechtools[recipes]"'
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(clean, degraded, sample_rate))
        except (RuntimeWarning, ValueError) as error:
            raise AudioError(
                f"STOI cannot judge {len(clean) / sample_rate:.2f} s of audio ({str(error).split('.')[0]}): it needs "
                "0.4 s of speech. Leave the file out."
            ) from None


def check_rows(manifest: str | Path, split: str) -> list[dict]:
    """Rows of the manifest of a split, whose speech and noise are there.

    Raises
    ------
    CorpusError
        The manifest is missing or torn, or a file that it names is gone.
    """
    rows = read_rows(manifest, FIELDS[split])
    for path in sorted({row[key] for row in rows for key in ("speech", "noise")}):
        if not Path(path).is_file():
            raise CorpusError(f"{manifest} names {path}, which is gone. Delete the manifest and start again.")
    return rows


def as_mixture(row: dict) -> mixing.Mixture:
    """The mixture that a row of a manifest tells of; neither its ``split`` nor its ``utt_id`` is kept."""
    return mixing.Mixture(
        row["ID"],
        "",
        "noisy",
        "",
        row["speaker"],
        Path(row["speech"]),
        row["noise_type"],
        Path(row["noise"]),
        float(row["snr_db"]),
        int(row["seed"]),
    )


def _stoi_of(pair: tuple[Path, Path], sample_rate: int) -> float | str:
    """STOI of a file, or the reason why it has none. Runs in a worker."""
    try:
        reference, path = pair
        return stoi(audio.read(reference, sample_rate), audio.read(path, sample_rate), sample_rate)
    except AudioError as error:
        return str(error)


def _noisy_only(mixtures: list[mixing.Mixture]) -> list[mixing.Mixture]:
    return [mixture for mixture in mixtures if mixture.subset == "noisy"]


def _row(mixture: mixing.Mixture, seconds: float) -> dict:
    return {
        "ID": mixture.mixture_id,
        "duration": f"{seconds:.6f}",
        "speech": mixture.speech,
        "speaker": mixture.speaker,
        "noise_type": mixture.noise_type,
        "noise": mixture.noise,
        "snr_db": f"{mixture.snr_db:g}",
        "seed": mixture.seed,
    }
