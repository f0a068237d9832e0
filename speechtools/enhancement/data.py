"""Manifests for training and testing an enhancer (Quality-Net paper, section 3.1), and scores of enhanced files.

Training and validation mixtures are only listed: they are mixed when they are read. The test mixtures are written and
scored by PESQ and STOI once, so that any enhancer can be compared with them.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechtools.core.checks import check_number, checked_by, naming
from speechtools.core.errors import CorpusError
from speechtools.core.plugin_code import fingerprints_of_plugins
from speechtools.core.rows import Row, read_rows, write_rows
from speechtools.corpora import mixtures as mixing
from speechtools.corpora.noisy_speech import NoisySpeech, PreparedSets
from speechtools.corpora.row_checks import check_length, check_score, check_snr
from speechtools.degradations.noise import check_snrs
from speechtools.measures import find_measure
from speechtools.measures.labels import LabelJob, RejectedRow, add_rejected, label

logger = logging.getLogger(__name__)

#: Raise it by one when a change of the code makes other files from the same options.
VERSION = 2
_MIXTURE_COLUMNS = ("speech", "speaker", "noise_type", "noise", "snr_db", "seed")


@dataclass(frozen=True, kw_only=True)
class MixtureRow(Row, manifest="enhancement"):
    """A mixture for training or validation.

    Attributes
    ----------
    ID, speaker : str
    duration : float
        In seconds.
    speech, noise : Path
        The clean utterance and the noise recording.
    noise_type : str
    snr_db : float
        In dB.
    seed : int
        Of the noise's offset.
    """

    ID: str
    duration: float
    speech: Path
    speaker: str
    noise_type: str
    noise: Path
    snr_db: float
    seed: int

    def check(self) -> Iterator[str]:
        """Check the recordings, the SNR and the seed."""
        yield from check_length(self.speech, self.duration)
        if not self.noise.is_file():
            yield f"noise={self.noise} does not exist."
        yield from check_snr(self.snr_db)
        if self.seed < 0:
            yield f"seed={self.seed} is below 0."

    def mixture(self) -> mixing.Mixture:
        """The mixture to make, without its split and utterance."""
        columns = {name: getattr(self, name) for name in _MIXTURE_COLUMNS}
        return mixing.Mixture(mixture_id=self.ID, split="", subset="noisy", utt_id="", degradation="noise", **columns)


@dataclass(frozen=True, kw_only=True)
class JudgedRow(MixtureRow, manifest="enhancement test"):
    """A mixture of the test, with the noisy file and its scores.

    Attributes
    ----------
    heard : bool
        Whether the enhancer is trained with this type of noise.
    path : Path
        The noisy file.
    score : float
    measure : str
        What the score is on.
    stoi : float
    """

    former_columns = {"pesq": "Rename the column pesq to score and add the column measure, or prepare it again."}

    heard: bool
    path: Path
    score: float
    measure: str
    stoi: float

    def check(self) -> Iterator[str]:
        """Check what the mixture was made from, the noisy file and the scores."""
        yield from super().check()
        yield from check_length(self.path, self.duration)
        yield from check_score(self.score, self.measure)
        if not -1 <= self.stoi <= 1:
            yield f"stoi={self.stoi:g} is outside -1 to 1."


#: Of the manifests, by split.
ROW_MODELS: dict[str, type[MixtureRow]] = {"train": MixtureRow, "valid": MixtureRow, "test": JudgedRow}


def _check(
    sources: NoisySpeech,
    num_train_utterances: int,
    num_valid_utterances: int,
    num_test_utterances: int,
    snrs_db: Sequence[float],
    scale: str,
) -> None:
    """Check arguments of :func:`prepare`."""
    if not (sources.enhancer_share and sources.enhancer_noises):
        raise CorpusError(
            f"enhancer_share={sources.enhancer_share} and enhancer_noises={sources.enhancer_noises} leave no speech or "
            "no noise for the enhancer. Set both, for example 0.5 and 10."
        )
    check_number("num_train_utterances", num_train_utterances, 1, whole=True)
    check_number("num_valid_utterances", num_valid_utterances, 1, whole=True)
    check_number("num_test_utterances", num_test_utterances, 1, whole=True)
    with naming("scale"):
        find_measure(scale)
    check_snrs("snrs_db", snrs_db)
    sources.check()


@checked_by(_check)
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
    """Make the training, validation and test manifests, unless they exist.

    Each drawn utterance is mixed with every noise type at every SNR. Training uses the speakers and noises that
    ``sources`` sets aside for the enhancer. The test uses speakers that are new to the enhancer and to Quality-Net,
    with noise types that are new to both (``heard`` is ``no``) and with those of the training (``yes``).

    Raises
    ------
    CorpusError, ConfigError
        From the readers, the mixing and the labelling.
    """
    _check(sources, num_train_utterances, num_valid_utterances, num_test_utterances, snrs_db, scale)
    options = {key: value for key, value in locals().items() if key not in ("sources", "save_folder", "num_workers")}
    options["plugins"] = fingerprints_of_plugins([f"measure/{find_measure(scale).name}"])
    noises = sources.noises()
    sets = sources.sets("enhancement", save_folder, ROW_MODELS, options, noises, VERSION)
    if sets.complete():
        return sets

    folder, groups = sets.folder, sources.speech(num_workers)
    durations = {utterance.path: utterance.duration for members in groups.values() for utterance in members}
    plans = {
        split: [
            mixture
            for mixture in mixing.plan_test(groups[group], types, snrs_db, count, split, sources.seed)
            if mixture.subset == "noisy"
        ]
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
        raise CorpusError(f"Every file of the test was rejected; {folder}/rejected.csv lists the reasons.")
    sets.write_about()
    for split in ("train", "valid"):
        rows = [MixtureRow(**_columns(mixture, durations)) for mixture in plans[split]]
        write_rows(sets.manifests[split], MixtureRow, rows)
    measure, judged_rows = find_measure(scale).name, []
    for mixture in plans["test"]:
        if scores := judged.get(mixture.mixture_id):
            row = JudgedRow(
                **_columns(mixture, durations),
                heard=mixture.noise_type in noises["enhancer"],
                path=pairs[mixture.mixture_id][1],
                score=round(scores.pesq, 6),
                measure=measure,
                stoi=round(scores.stoi, 6),
            )
            judged_rows.append(row)
    write_rows(sets.manifests["test"], JudgedRow, judged_rows)
    return sets


@dataclass(frozen=True)
class Scores:
    """PESQ and STOI of a file."""

    pesq: float
    stoi: float


def judge(
    pairs: dict[str, tuple[Path, Path]],
    labels_csv: Path,
    scale: str = "raw_nb",
    sample_rate: int = 16000,
    num_workers: int | None = None,
    rejected: dict[str, str] | None = None,
) -> dict[str, Scores]:
    """Score files against their references with PESQ and STOI, by id.

    Parameters
    ----------
    pairs : dict
        By id, the clean reference and the file to score, of the same length.
    labels_csv : Path
        Where the PESQ labels go, as :func:`speechtools.measures.labels.label` writes them. Files that PESQ or STOI
        cannot score are not in the result; ``rejected.csv`` beside the labels lists the reasons.
    rejected : dict, optional
        Reasons by id of files that could not be made: they are listed with the others.
    """
    rejected = dict(rejected or {})
    pairs = {name: pair for name, pair in pairs.items() if name not in rejected}
    jobs = [LabelJob(name, reference, path) for name, (reference, path) in pairs.items()]
    labels = label(jobs, labels_csv, scale, num_workers, sample_rate=sample_rate)
    stoi_csv, stoi_rejected = labels_csv.with_name("stoi.csv"), labels_csv.with_name("stoi-rejected.csv")
    jobs = [job for job in jobs if job.item_id in labels]
    stoi_of = label(jobs, stoi_csv, "stoi", num_workers, sample_rate=sample_rate, rejected_csv=stoi_rejected)
    judged = {name: Scores(labels[name], value) for name, value in stoi_of.items()}
    rejected |= {row.id: row.reason for row in read_rows(stoi_rejected, RejectedRow)}
    add_rejected(labels_csv.with_name("rejected.csv"), rejected)
    for name, reason in rejected.items():
        logger.warning("%s is left out: %s", name, reason)
    return judged


def _columns(mixture: mixing.Mixture, durations: dict[Path, float]) -> dict:
    columns = {name: getattr(mixture, name) for name in _MIXTURE_COLUMNS}
    return {"ID": mixture.mixture_id, "duration": round(durations[mixture.speech], 6), **columns}
