"""Further measures of the mixtures, such as STOI and SI-SDR, which a network learns beside the score.

Each has its own labels, output and loss. :mod:`speechtools.quality.ratings` adds ratings of other recordings.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechtools.core.checks import check_number, naming
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.metrics import logged_metrics
from speechtools.core.plugin_code import fingerprints_of_plugins
from speechtools.core.rows import read_rows
from speechtools.corpora.row_checks import check_score
from speechtools.measures import find_measure, is_measure
from speechtools.measures.labels import LabelJob, LabelRow, RejectedRow, label
from speechtools.quality.objective import point_errors, point_of_range, start_output
from speechtools.quality.outputs import check_outputs
from speechtools.quality.ratings import Ratings

logger = logging.getLogger(__name__)

# ----------------------------------------------------------------------------------------------------- names and text


def further_names(measures: str | Sequence[str] | None, scale: str, labels: str = "measure") -> list[str]:
    """Check the option ``further_measures``, and return the names of the plugins, without their kind.

    Raises
    ------
    ConfigError
        A measure is unknown, named twice, the scale itself, or cannot be computed; or the labels are those of a corpus.

    Examples
    --------
    >>> further_names(["stoi", "wb"], "raw_nb")
    ['stoi', 'pesq-wb']
    """
    names: list[str] = []
    if not isinstance(measures, (str, list, tuple, type(None))):
        raise ConfigError(f"further_measures={measures!r} is not a list of measures. Write it as in [stoi, si-sdr].")
    for given in [measures] if isinstance(measures, str) else measures or ():
        with naming("further_measures"):
            measure = find_measure(given)
            if getattr(measure, "from_listeners", False):
                raise ConfigError(
                    f"{measure.name} cannot be computed: listeners give these scores. Pass them as --labels=mine.csv."
                )
            if measure.name == find_measure(scale).name:
                raise ConfigError(f"{given} is the scale of the score already. Leave it out, or choose another scale.")
            if measure.name in names:
                raise ConfigError(f"{measure.name} is named twice. Leave one out.")
        names.append(measure.name)
    if names and labels == "corpus":
        raise ConfigError(
            f"further_measures={', '.join(names)} compare a mixture with its clean speech, and labels=corpus takes "
            "recordings without. Leave further_measures out, or set labels to measure."
        )
    return names


def measures_text(scores: Mapping[str, float]) -> str | None:
    """Scores by measure as the text of a manifest's cell; None without scores.

    >>> measures_text({"stoi": 0.9, "si-sdr": 12.0})
    'si-sdr=12.0 stoi=0.9'
    """
    return " ".join(f"{name}={round(float(scores[name]), 6)!r}" for name in sorted(scores)) or None


def parse_measures(text: str | None) -> dict[str, float]:
    """Read scores by measure from the text of :func:`measures_text`.

    Raises
    ------
    CorpusError
        It is another text.

    Examples
    --------
    >>> parse_measures("si-sdr=12.0 stoi=0.9")
    {'si-sdr': 12.0, 'stoi': 0.9}
    """
    scores = {}
    for word in (text or "").split():
        name, _, number = word.partition("=")
        try:
            scores[name] = float(number)
        except ValueError:
            raise CorpusError(f"measures={text!r}: {word!r} is not the name of a measure, = and a number.") from None
    return scores


def update_text(text: str | None, scores: Mapping[str, float | None]) -> str | None:
    """Replace scores in the text of a cell; None removes one.

    >>> update_text("mine=3.0 stoi=0.9", {"stoi": None, "si-sdr": 12.0})
    'mine=3.0 si-sdr=12.0'
    """
    updated = {**parse_measures(text), **scores}
    return measures_text({name: score for name, score in updated.items() if score is not None})


def check_measures(text: str | None) -> Iterator[str]:
    """Check the text of a row: that it can be read, and that scores are in the range of their measure."""
    try:
        scores = parse_measures(text)
    except CorpusError as error:
        yield str(error)
        return
    for name, score in scores.items():
        if is_measure(name):  # one of yours may not be loaded
            yield from check_score(score, name)


# ------------------------------------------------------------------------------------------------------------- labels


def label_further(
    jobs: Sequence[LabelJob],
    folder: Path,
    names: Sequence[str],
    num_workers: int | None,
    sample_rate: int,
    dask: str | None = None,
) -> dict[str, dict[str, float]]:
    """Label files by further measures, in worker processes or on a Dask cluster.

    Labels of earlier runs are not computed again. Each measure has a ``labels-<name>.csv`` in the folder, with its
    journal, and a ``rejected-<name>.csv``; a measure of yours also has the fingerprint of its code in the names.

    Returns
    -------
    dict
        By measure: the scores by id, without the files that were rejected.

    Raises
    ------
    CorpusError, ConfigError, SpeechtoolsError
        From :func:`speechtools.measures.labels.label`.
    """
    codes = fingerprints_of_plugins(f"measure/{name}" for name in names)
    labels = {}
    for name in names:
        stem = "-".join(filter(None, [name, codes.get(f"measure/{name}")]))
        output_csv, rejected_csv = folder / f"labels-{stem}.csv", folder / f"rejected-{stem}.csv"
        scores, done = {}, set()
        if output_csv.is_file() and rejected_csv.is_file():
            scores = {row.id: row.score for row in read_rows(output_csv, LabelRow)}
            done = scores.keys() | {row.id for row in read_rows(rejected_csv, RejectedRow)}
        if not all(job.item_id in done for job in jobs):
            scores = label(
                jobs, output_csv, name, num_workers, sample_rate=sample_rate, rejected_csv=rejected_csv, dask=dask
            )
        labels[name] = scores
    return labels


# ----------------------------------------------------------------------------------------------------------- training


class FurtherMeasures:
    """The further measures of a training. Without names, there are none.

    Parameters
    ----------
    names : str or sequence of str
        Measures, as :func:`further_names` takes them.
    weight : float
        Of the loss of each; that of the score is 1.
    scale : str
        Measure of the score.
    ratings : Ratings, optional
        What is learned from another source, which must have other measures.
    limits : mapping of str to pair of floats, optional
        By measure, the range to which labels are limited for training and tests, such as ``{"si-sdr": (-20, 40)}``.
        Without limits, clean speech has an SI-SDR of 100 dB, which would dominate the errors. Measures that are not
        learned may have limits, too.

    Attributes
    ----------
    names : list of str
        The further measures.
    all_names : list of str
        Those of the ratings and these: the outputs that the network needs.

    Raises
    ------
    ConfigError
        From :func:`further_names`; a measure is also that of ratings; the weight is negative; or limits are those of no
        measure, or not two ascending numbers within its range.
    """

    def __init__(
        self,
        names: str | Sequence[str] = (),
        weight: float = 0.3,
        scale: str = "raw_nb",
        ratings: Ratings | None = None,
        limits: Mapping[str, Sequence[float]] | None = None,
    ):
        check_number("measure_weight", weight, 0)
        rated, labels = ([], "measure") if ratings is None else (ratings.measures, ratings.labels)
        self.names, self.weight = further_names(names, scale, labels), weight
        self.all_names = [*rated, *self.names]
        ranges = {measure.name: (measure.minimum, measure.maximum) for measure in map(find_measure, self.names)}
        self._ranges = ranges | {name: pair for name, pair in _check_limits(limits).items() if name in ranges}
        self._points = {name: point_of_range(*self._ranges[name]) for name in self.names}
        if both := [name for name in self.names if name in rated]:
            raise ConfigError(
                f"{both[0]} is in further_measures and in {labels}, and one output cannot learn both. Leave it out of "
                "further_measures, or its rows out of the list."
            )

    def __len__(self) -> int:
        return len(self.names)

    def check(self, network: nn.Module) -> None:
        """Check that a network has an output for each measure; raises ConfigError."""
        check_outputs(network, self.names, f"further_measures={', '.join(self.names)}", "further_measures")

    def start(self, network: nn.Module, rows: Sequence[Any]) -> None:
        """Let the outputs of a network begin at the labels of the training rows.

        Raises
        ------
        CorpusError
            A measure has no label.
        """
        if not self.names:
            return
        scores = [self.labels(row) for row in rows]
        outputs = getattr(network, "measure_outputs", {})
        for name in self.names:
            labels = [known[name] for known in scores if name in known]
            if not labels:
                raise CorpusError(
                    f"None of the {len(rows)} training files has a {name} label: rejected-{name}.csv beside the "
                    "manifests lists the reasons. Leave the measure out, or correct the corpus."
                )
            if missing := len(rows) - len(labels):
                logger.warning("%d of %d training files have no %s label.", missing, len(rows), name)
            if name in outputs:
                start_output(outputs[name], labels)

    def labels(self, row: Any) -> dict[str, float]:
        """The labels that a row of a manifest has, within their limits, by measure."""
        scores = parse_measures(row.measures)
        return {name: min(max(scores[name], low), high) for name, (low, high) in self._ranges.items() if name in scores}

    def targets(self, row: Any) -> Tensor:
        """Labels of a row (measures,), NaN where there is none."""
        scores = self.labels(row)
        return torch.tensor([scores.get(name, math.nan) for name in self.names])

    def objective(self, predicted: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Weighted sum over the measures of the mean squared error in points of PESQ.

        Parameters
        ----------
        predicted : dict
            Scores (batch,) by measure.
        targets : Tensor
            (batch, measures), NaN where there is no label.
        """
        errors = point_errors(predicted, targets, self._points)
        # (batch, measures)
        means = errors.square().sum(dim=0) / (~targets.isnan()).sum(dim=0).clamp(min=1)
        return self.weight * means.sum()

    def reached(self, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """What a validation logs of the metrics by measure: ``stoi_mse``, ``stoi_lcc``, ``stoi_srcc`` and so on.

        ``measures_mse`` is the sum of all mean squared errors, in points of PESQ. An undefined correlation is 0, and a
        measure without labels is left out.
        """
        reached: dict[str, float] = {}
        sum_of_errors = 0.0
        for name, point in self._points.items():
            overall = metrics[name]["overall"]
            if overall["utterances"]:
                logged = logged_metrics(overall)
                reached |= {f"{name}_{key}": value for key, value in logged.items()}
                sum_of_errors += logged["mse"] / point**2
        return reached | {"measures_mse": sum_of_errors}


def _check_limits(limits: Mapping[str, Sequence[float]] | None) -> dict[str, tuple[float, float]]:
    """Check the option ``measure_limits``, and return its pairs by the names of the plugins."""
    if not isinstance(limits, Mapping | None):
        raise ConfigError(f"measure_limits={limits!r} is not a mapping. Write it as in {{si-sdr: [-20, 40]}}.")
    checked: dict[str, tuple[float, float]] = {}
    for name, pair in (limits or {}).items():
        with naming("measure_limits"):
            measure = find_measure(name)
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ConfigError(f"measure_limits: {name}: {pair!r} is not a pair. Write it as in {{si-sdr: [-20, 40]}}.")
        check_number(f"measure_limits: the lower one of {name}", pair[0], measure.minimum, measure.maximum)
        check_number(f"measure_limits: the upper one of {name}", pair[1], pair[0], measure.maximum, above=True)
        checked[measure.name] = (float(pair[0]), float(pair[1]))
    return checked
