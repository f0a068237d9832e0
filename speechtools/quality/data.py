"""From a corpus and noises to labelled manifests for Quality-Net (paper, section 3.1).

Every step (divide the corpus, plan the mixtures, make them, enhance some, label all) can be stopped at any moment and
started again: finished files stay, and a folder whose manifests exist is used as it is.
"""

import hashlib
import inspect
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from speechtools.core.checks import check_number, checked_by, naming
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.files import fingerprint
from speechtools.core.plugin_code import fingerprints_of_plugins
from speechtools.core.rows import read_rows, write_rows
from speechtools.core.spelling import did_you_mean
from speechtools.corpora import mixtures as mixing
from speechtools.corpora.cutting import cut_utterances
from speechtools.corpora.noisy_speech import NoisySpeech, PreparedSets
from speechtools.corpora.row_checks import check_score
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.lists import parse_degradations, plugins_of
from speechtools.degradations.noise import NoiseTypes, check_snrs
from speechtools.measures import find_measure
from speechtools.measures.labels import LabelJob, add_rejected, label
from speechtools.quality.further import further_names, label_further, update_text
from speechtools.quality.rating_lists import is_list
from speechtools.quality.rows import QualityRow

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
#: Where labels come from.
LABELS = ("measure", "corpus")
_MIXTURE_COLUMNS = ("speech", "subset", "speaker", "noise_type", "noise", "snr_db")
#: Raise it by one when a change of the code makes other files from the same options.
VERSION = 3


def _check(
    sources: NoisySpeech,
    num_clean_train: int,
    mixtures_per_utterance: int,
    train_snrs_db: Sequence[float],
    num_valid_utterances: int,
    num_test_utterances: int,
    test_snrs_db: Sequence[float],
    enhanced_share: float,
    scale: str,
    labels: str,
    degradations: str | Sequence[str | dict],
    test_degradations: str | Sequence[str | dict] | None,
    max_seconds: float | None,
    further_measures: str | Sequence[str],
    mixture_seed: int,
) -> None:
    """Check arguments of :func:`prepare`."""
    labels = _own_labels(labels)
    with naming("scale"):
        measure = find_measure(scale)
    if labels == "measure" and getattr(measure, "from_listeners", False):
        raise ConfigError(
            f"scale={scale}: only listeners give these scores. Add --labels=corpus to train on those of the corpus, "
            "or choose a measure that can be computed, such as raw_nb."
        )
    further_names(further_measures, scale, labels)
    with naming("degradations"):
        of_train = parse_degradations(degradations)
    with naming("test_degradations"):
        of_test = of_train if test_degradations is None else parse_degradations(test_degradations)
    if enhanced_share and any(degradation.subset == "enhanced" for degradation in [*of_train, *of_test]):
        raise ConfigError(f"enhanced_share={enhanced_share} makes a subset enhanced. Give the chain another name.")
    for name, snrs_db, kinds in (
        ("train_snrs_db", train_snrs_db, of_train),
        ("test_snrs_db", test_snrs_db, of_test),
    ):
        if snrs_db or not kinds:  # without SNRs, only the degradations are planned
            check_snrs(name, snrs_db)
    if max_seconds is not None:
        check_number("max_seconds", max_seconds, 1, 60)
    check_number("num_clean_train", num_clean_train, 0, whole=True)
    check_number("mixtures_per_utterance", mixtures_per_utterance, 1, whole=True)
    check_number("num_valid_utterances", num_valid_utterances, 1, whole=True)
    check_number("num_test_utterances", num_test_utterances, 1, whole=True)
    check_number("enhanced_share", enhanced_share, 0, 1)
    check_number("mixture_seed", mixture_seed, 0, whole=True)
    if labels not in LABELS:
        raise ConfigError(
            f"labels={labels!r} is not one of {', '.join(LABELS)}, or a CSV file.{did_you_mean(labels, LABELS)}"
        )
    if labels == "corpus" and enhanced_share:
        raise ConfigError("labels=corpus takes recordings as they are; set enhanced_share to 0.")
    if labels == "corpus" and "builtin" in sources.corpora:
        raise ConfigError(
            "labels=corpus takes the scores of the corpus, and corpus=builtin has none. Set corpus to one with scores, "
            "such as labelled with its data_folder, or labels to measure."
        )
    sources.check()


@checked_by(_check)
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
    splits: Sequence[str] = SPLITS,
    scale: str = "raw_nb",
    labels: str = "measure",
    degradations: str | Sequence[str | dict] = (),
    test_degradations: str | Sequence[str | dict] | None = None,
    max_seconds: float | None = None,
    further_measures: str | Sequence[str] = (),
    mixture_seed: int = 0,
    num_workers: int | None = None,
    dask: str | None = None,
) -> PreparedSets:
    """Make the training, validation and test sets, unless they exist.

    Parameters
    ----------
    sources : NoisySpeech
        The speech, the noises, and their division.
    save_folder : str or Path
        A folder named after the fingerprint of all these options is made in it.
    num_clean_train, mixtures_per_utterance, clean_copies, train_snrs_db
        Of the training set, as :func:`speechtools.corpora.mixtures.plan_training` takes them.
    num_valid_utterances, num_test_utterances, test_snrs_db
        Of the other sets, as :func:`speechtools.corpora.mixtures.plan_test` takes them. Validation has the degradations
        of the training; without these and ``test_snrs_db``, the SNRs of the training.
    enhanced_share : float
        Share of the noisy training utterances that are enhanced (the paper: half); above 0, every mixture of
        validation and test is enhanced as well.
    enhancer, enhance
        The folder of the trained model that enhances, which distinguishes these sets from those of another model, and
        its function from a list of waveforms (samples,) to one of the same lengths.
    splits : sequence of str
        The sets to make. Without ``train``, none is made for training, which then takes shards.
    scale : str
        Measure of the labels.
    labels : str
        ``measure`` makes mixtures and labels them; ``corpus`` takes the recordings as they are, with the scores that
        their utterances carry. Their measure must be ``scale``; if they state none, the default ``raw_nb`` is refused.
        A list of :mod:`ratings <speechtools.quality.ratings>`, which are learned besides, is taken as ``measure``.
    degradations : str, dict or sequence
        Plugins of the kind ``degradation`` besides the noises, as
        :func:`speechtools.degradations.lists.parse_degradations` reads them.
    test_degradations : str, dict or sequence, optional
        Those of the test. Default: the same.
    max_seconds : float, optional
        Cut longer utterances, where they are quietest.
    further_measures : str or sequence of str
        Measures that the manifests have besides ``scale``. They do not distinguish sets: those that exist get the
        labels that they lack.
    mixture_seed : int
        Another number makes other training mixtures of the same speech and noises; validation and test stay the same.
    num_workers : int, optional
        Processes; None takes one for each core.
    dask : str, optional
        Scheduler of the Dask cluster that computes the labels.

    Raises
    ------
    CorpusError, ConfigError
        From the readers, the mixing and the labelling; or no file of a split can be used.
    """
    labels = _own_labels(labels)
    options = {
        name: value
        for name, value in locals().items()
        if name
        not in ("sources", "save_folder", "num_workers", "dask", "enhance", "enhancer", "further_measures", "splits")
    }
    if tuple(splits) != SPLITS:
        options["splits"] = list(splits)
    arguments = locals()
    _check(**{name: arguments[name] for name in inspect.signature(_check).parameters})
    for name in ("degradations", "test_degradations", "max_seconds"):
        unused = options[name] is None or (name == "degradations" and not options[name])
        if unused:  # sets of earlier versions are used as they are
            options.pop(name)
    if not mixture_seed:
        options.pop("mixture_seed")
    if labels == "measure":  # edited plugins of yours make new sets
        used = plugins_of([*_listed(degradations), *_listed(test_degradations)])
        options["plugins"] = fingerprints_of_plugins([f"measure/{find_measure(scale).name}", *used])
    if enhanced_share:
        if enhancer is None or enhance is None:
            raise ConfigError(
                f"enhanced_share={enhanced_share} needs a trained model. Set enhancer to its folder, or the share to 0."
            )
        options["enhancer"] = _digest(enhancer)
    groups = None
    if labels == "corpus":  # read at every start: scores are edited by hand
        groups = sources.speech(num_workers)
        rows = {split: _labelled(groups[split], scale) for split in splits}
        options["rows"] = fingerprint({split: [row.cells() for row in rows[split]] for split in splits})
    elif "builtin" not in sources.corpora and not _exist(sources, save_folder, splits, options):
        groups = sources.speech(num_workers)  # a wrong corpus is refused before the noises are made
    noises = sources.noises() if labels == "measure" else {}
    sets = sources.sets("quality", save_folder, splits, options, noises, VERSION)
    further = further_names(further_measures, scale)
    if sets.complete():
        return _add_measures(sets, further, sources.sample_rate, num_workers, dask)
    if labels == "measure":
        groups = groups or sources.speech(num_workers)
        if max_seconds:
            groups = {
                split: cut_utterances(groups[split], max_seconds, sets.folder / "cut", sources.sample_rate, num_workers)
                for split in splits
            }
        plan = []
        if "train" in splits:
            plan = mixing.plan_training(
                groups["train"],
                noises["train"],
                train_snrs_db,
                num_clean_train,
                mixtures_per_utterance,
                sources.seed + mixture_seed,
                clean_copies,
                enhanced_share,
                degradations,
            )
        of_test = degradations if test_degradations is None else test_degradations
        of_valid = test_snrs_db if test_snrs_db or _listed(degradations) else train_snrs_db
        for split, snrs_db, count, kinds in (
            ("valid", of_valid, num_valid_utterances, degradations),
            ("test", test_snrs_db, num_test_utterances, of_test),
        ):
            options_of_test = (snrs_db, count, split, sources.seed, enhanced_share > 0, kinds)
            plan += mixing.plan_test(groups[split], noises[split], *options_of_test)
        plan = [mixture for mixture in plan if mixture.split in splits]
        rows = _make(plan, sets.folder, sources.sample_rate, scale, enhance, num_workers, noises, dask)
    for split in splits:
        if not rows[split]:
            reasons = f"{sets.folder}/rejected.csv lists the reasons" if labels == "measure" else "no score was usable"
            raise CorpusError(f"No file of the {split} set is left: {reasons}. Correct the corpus.")
    sets.write_about()
    for split in splits:
        write_rows(sets.manifests[split], QualityRow, rows[split])
    return _add_measures(sets, further, sources.sample_rate, num_workers, dask)


# ---------------------------------------------------------------------------------------------------------- helpers


def _listed(degradations: str | Sequence[str | dict] | None) -> Sequence[str | dict]:
    return [degradations] if isinstance(degradations, (str, dict)) else degradations or ()


def _own_labels(labels: str) -> str:
    """Where the labels of the sets come from; ratings of other recordings are none of them."""
    return "measure" if is_list(labels) else labels


def _exist(sources: NoisySpeech, save_folder: str | Path, splits: Sequence[str], options: dict) -> bool:
    sets = sources.sets("quality", save_folder, splits, options, {}, VERSION)
    return all(path.exists() for path in sets.manifests.values())


def _make(
    plan: list[mixing.Mixture],
    folder: Path,
    sample_rate: int,
    scale: str,
    enhance: mixing.Enhance | None,
    num_workers: int | None,
    noises: dict[str, NoiseTypes],
    dask: str | None,
) -> dict[str, list[QualityRow]]:
    """Make the files of a plan and label them: rows by split, without the files that were rejected."""
    audio_folder = folder / "audio"
    unprocessed = [mixture for mixture in plan if not mixture.enhance]
    made, rejected = mixing.make_mixtures(unprocessed, audio_folder, sample_rate, num_workers, noises=noises)
    to_enhance = [mixture for mixture in plan if mixture.enhance]
    if enhance is not None and to_enhance:
        enhanced, more_rejected = mixing.enhance_mixtures(to_enhance, audio_folder, sample_rate, enhance, noises=noises)
        made, rejected = made | enhanced, rejected | more_rejected
    paths = {name: audio_folder / f"{name}.wav" for name in made}
    mixtures = [mixture for mixture in plan if mixture.mixture_id in made]
    jobs = [LabelJob(mixture.mixture_id, mixture.speech, paths[mixture.mixture_id]) for mixture in mixtures]
    labels = label(jobs, folder / "labels.csv", scale, num_workers, sample_rate=sample_rate, dask=dask)
    add_rejected(folder / "rejected.csv", rejected)
    if num_rejected := len(plan) - len(labels):
        logger.warning(
            "%d of %d files were rejected; %s/rejected.csv lists the reasons.", num_rejected, len(plan), folder
        )
    rows: dict[str, list[QualityRow]] = {split: [] for split in SPLITS}
    measure = find_measure(scale).name
    for mixture in mixtures:
        name = mixture.mixture_id
        if name in labels:
            columns: dict[str, Any] = {column: getattr(mixture, column) for column in _MIXTURE_COLUMNS}
            columns |= {"duration": round(made[name].duration, 6), "causes": made[name].causes}
            row = QualityRow(ID=name, path=paths[name], score=round(labels[name], 6), measure=measure, **columns)
            rows[mixture.split].append(row)
    return rows


def _add_measures(
    sets: PreparedSets, names: list[str], sample_rate: int, num_workers: int | None, dask: str | None
) -> PreparedSets:
    """Add labels of further measures to the manifests, which keep those of other measures."""
    if not names:
        return sets
    rows = {split: read_rows(sets.manifests[split], QualityRow) for split in sets.manifests}
    jobs = [LabelJob(row.ID, row.speech, row.path) for split in sets.manifests for row in rows[split]]
    labels = label_further(jobs, sets.folder, names, num_workers, sample_rate, dask)
    for split in sets.manifests:
        labelled = []
        for row in read_rows(sets.manifests[split], QualityRow):  # another run may have added its own
            scores = {name: labels[name].get(row.ID) for name in names}
            labelled.append(replace(row, measures=update_text(row.measures, scores)))
        if labelled != rows[split]:
            write_rows(sets.manifests[split], QualityRow, labelled)
    return sets


def _labelled(utterances: Sequence[Utterance], scale: str) -> list[QualityRow]:
    """Rows of the utterances that have a score."""
    measure = find_measure(scale).name
    rows = []
    for utterance in utterances:
        if utterance.score is None:
            continue
        # The default may just not have been changed, so it says nothing about a score without a measure.
        stated = utterance.measure or ("" if scale == "raw_nb" else scale)
        if not stated or find_measure(stated).name != measure:
            raise ConfigError(
                f"{utterance.utt_id} has a score of {stated or 'unknown measure'}, but scale={scale}. Set scale to the "
                "measure of the scores, as in --scale=mos (raw PESQ: pesq-raw)."
            )
        for problem in check_score(utterance.score, scale):
            raise CorpusError(f"{utterance.score_place or utterance.path}: {problem}")
        columns: dict[str, Any] = {
            "ID": utterance.utt_id,
            "path": utterance.path,
            "speech": utterance.path,
            "score": utterance.score,
        }
        columns |= {"duration": round(utterance.duration, 6), "measure": measure, "speaker": utterance.speaker}
        rows.append(QualityRow(**columns, subset="corpus"))
    if utterances and not rows:
        raise ConfigError(
            f"None of the {len(utterances)} utterances has a score, and labels=corpus takes the scores of the corpus. "
            "Set corpus to one with scores, such as labelled, or labels to measure."
        )
    if missing := len(utterances) - len(rows):
        logger.warning("%d of %d utterances have no score and are left out.", missing, len(utterances))
    return rows


def _digest(model: str | Path) -> str:
    """A fingerprint of a trained model's files, independent of where they are."""
    if not Path(model).is_dir():
        raise ConfigError(f"enhancer={str(model)!r} is not a folder. Pass `pretrained` of a trained enhancer.")
    digest = hashlib.sha256()
    for path in sorted(Path(model).iterdir()):
        if path.suffix in (".json", ".safetensors"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
