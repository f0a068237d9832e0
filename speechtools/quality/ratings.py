"""Ratings of recordings, such as mean opinion scores, which a network learns beside the labels of its mixtures.

They are a source of their own, as in the MultiReader of the GE2E paper (Wan et al., ICASSP 2018, section 2.3): every
training step has a batch of the mixtures and a batch of the ratings, and the loss is the weighted sum of both.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from speechtools import audio
from speechtools.core import metrics
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.files import fingerprint
from speechtools.measures import find_measure
from speechtools.quality.objective import point_errors, point_of
from speechtools.quality.outputs import check_outputs
from speechtools.quality.rating_lists import SPLITS, Rating, is_list, read_ratings, refuse_unreadable, split_ratings

logger = logging.getLogger(__name__)

#: The recordings are kept in memory if they have fewer samples: 512 MB, 2.3 hours at 16 kHz.
_MAX_KEPT_SAMPLES = 2**27
#: A correlation over fewer ratings is hardly more than chance.
_FEW = 10


class RatingBatch(NamedTuple):
    """Padded waveforms (batch, samples), relative lengths (batch,), and targets (batch, measures): NaN is unknown."""

    wavs: Tensor
    lens: Tensor
    targets: Tensor

    def to(self, device: str | torch.device) -> "RatingBatch":
        """Move to a device."""
        return RatingBatch(*(tensor.to(device) for tensor in self))


class Ratings:
    """The ratings of a training: their splits, batches and loss. Without a list, there are none.

    Parameters
    ----------
    labels : str
        The CSV file, as :func:`read_ratings` takes it; the other values of the option mean that there are none.
    batch_size : int
        Ratings in the batch of a step.
    weight : float
        Of their loss; the mixtures' is 1.
    valid_share, test_share : float
        See :func:`split_ratings`.
    max_seconds : float
        Training sees a random excerpt of longer recordings.
    sample_rate : int
        In Hz.
    split_seed, seed : int
        Of the drawn splits, and of the batches.

    Attributes
    ----------
    measures : list of str
        The measures of the list.
    splits : dict
        Ratings by split.

    Raises
    ------
    ConfigError, CorpusError
        A parameter is out of range; or as for :func:`read_ratings` and :func:`split_ratings`.
    """

    def __init__(
        self,
        labels: str | Path = "measure",
        batch_size: int = 8,
        weight: float = 0.3,
        valid_share: float = 0.2,
        test_share: float = 0.2,
        max_seconds: float = 10.0,
        sample_rate: int = 16000,
        split_seed: int = 0,
        seed: int = 0,
    ):
        check_number("rating_batch_size", batch_size, 1, whole=True)
        check_number("rating_weight", weight, 0)
        check_number("rating_valid_share", valid_share, 0, 0.5)
        check_number("rating_test_share", test_share, 0, 0.5)
        check_number("rating_seconds", max_seconds, 1)
        self.labels, self.batch_size, self.weight, self.seed = str(labels), batch_size, weight, seed
        self.sample_rate, self.max_samples = sample_rate, round(max_seconds * sample_rate)
        ratings = read_ratings(labels) if is_list(labels) else []
        self.splits = split_ratings(ratings, valid_share, test_share, split_seed) if ratings else {}
        self.measures = sorted({rating.measure for rating in ratings})
        self._points = {name: point_of(find_measure(name)) for name in self.measures}
        self._kept: dict[Path, np.ndarray] = {}
        self._num_kept = 0
        if missing := [name for name in self.measures if not self._scores("train", name)]:
            raise CorpusError(f"{labels} has no ratings of {missing[0]} to train on. Add some, or leave it out.")

    def __len__(self) -> int:
        return sum(map(len, self.splits.values()))

    @property
    def identity(self) -> str:
        """A name that changes with the ratings and their splits; empty without ratings."""
        if not self.splits:
            return ""
        return f"ratings-{fingerprint({name: [vars(rating) for rating in self.splits[name]] for name in SPLITS})}"

    def prepare(self, network: nn.Module, min_samples: int) -> None:
        """Check that a network learns these measures, read all recordings, and let its outputs begin at their mean.

        Raises
        ------
        ConfigError
            The network has no output for a measure.
        CorpusError
            Recordings are damaged, silent, or shorter than ``min_samples``.
        """
        if not self.splits:
            return
        check_outputs(network, self.measures, f"labels={self.labels}", "the list")

        def read(path: Path) -> None:
            if len(self.waveform(path, refuse_silence=True)) < min_samples:
                raise AudioError(f"{path} is too short: it has fewer than {min_samples} samples.")

        refuse_unreadable(self.labels, [rating for split in SPLITS for rating in self.splits[split]], read)
        for name in self.measures:
            output = getattr(network, "measure_outputs", {})[name]
            nn.init.constant_(output.bias, float(np.mean(self._scores("train", name))))
        counts = ", ".join(f"{split} {len(self.splits[split])}" for split in SPLITS)
        logger.info("Ratings of %s: %s", " and ".join(self.measures), counts)
        for split in ("valid", "test"):
            if len(self.splits[split]) < _FEW:
                number = len(self.splits[split])
                logger.warning("The ratings' %s has only %d: its correlation is uncertain.", split, number)

    def waveform(self, path: Path, refuse_silence: bool = False) -> np.ndarray:
        """Samples (samples,) of a recording, which stay in memory if there is room."""
        if path not in self._kept:
            samples = audio.read(path, self.sample_rate, refuse_silence)
            if self._num_kept + len(samples) > _MAX_KEPT_SAMPLES:
                return samples
            self._kept[path] = samples
            self._num_kept += len(samples)
        return self._kept[path]

    def batch(self, epoch: int, step: int, rank: int = 0, world_size: int = 1) -> RatingBatch:
        """Return the batch of a step, which depends on seed, epoch, step and rank alone.

        The training ratings come in a random order, and in another one when it ends.
        """
        ratings = self.splits["train"]
        size = min(self.batch_size, len(ratings))
        first = (step * world_size + rank) * size
        passes = {place // len(ratings) for place in (first, first + size - 1)}
        rngs = {number: np.random.default_rng([self.seed, epoch, number]) for number in passes}
        orders = {number: rng.permutation(len(ratings)) for number, rng in rngs.items()}
        chosen = [ratings[orders[place // len(ratings)][place % len(ratings)]] for place in range(first, first + size)]
        rng = np.random.default_rng([self.seed, epoch, step, rank])
        return self._padded(chosen, [self._excerpt(self.waveform(rating.path), rng) for rating in chosen])

    def batches(self, split: str) -> Iterator[RatingBatch]:
        """Yield all ratings of a split in their order, whole."""
        for start in range(0, len(self.splits[split]), self.batch_size):
            chosen = self.splits[split][start : start + self.batch_size]
            yield self._padded(chosen, [self.waveform(rating.path) for rating in chosen])

    def objective(self, predicted: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Weighted squared error in points of PESQ, averaged over the ratings: α L of section 2.3.

        Parameters
        ----------
        predicted : dict
            Scores (batch,) by measure.
        targets : Tensor
            (batch, measures), NaN where there is no rating.
        """
        errors = point_errors(predicted, targets, self._points)
        return self.weight * errors.square().sum() / (~targets.isnan()).sum()

    def validate(self, split: str, assess: Callable[[Tensor, Tensor], dict[str, Tensor]]) -> dict[str, float]:
        """Test the predictions of a split; nothing without ratings.

        Parameters
        ----------
        split : str
        assess : callable
            Waveforms (batch, samples) and relative lengths (batch,) -> scores (batch,) by measure.

        Returns
        -------
        dict
            The correlation by measure, such as ``mos_lcc`` (0 where it is undefined), and ``rating_mse``: the mean
            squared error of all ratings, in points of PESQ.
        """
        if not self.splits:
            return {}
        predicted, errors, targets = [], [], []
        for batch in self.batches(split):
            scores = {name: values.detach().float().cpu() for name, values in assess(batch.wavs, batch.lens).items()}
            predicted.append(torch.stack([scores[name] for name in self.measures], dim=1))
            errors.append(point_errors(scores, batch.targets, self._points))
            targets.append(batch.targets)
        true, values = torch.cat(targets), torch.cat(predicted)
        # (ratings, measures)
        results = {"rating_mse": float(torch.cat(errors).square().sum() / len(true))}
        for column, name in enumerate(self.measures):
            known = ~true[:, column].isnan()
            results[f"{name}_lcc"] = agreement(values[known, column], true[known, column])["lcc"] or 0.0
        return results

    def report(self, net) -> dict:
        """Test the exported model, as ``results.json`` has it, and log it.

        Returns
        -------
        dict
            By measure: ``train``, ``valid`` and ``test`` as :func:`agreement` returns them, and
            ``test_of_mapped_score``, a baseline: the model's own score, mapped to the measure by the line that fits the
            training ratings best.
        """
        paths = list(dict.fromkeys(rating.path for split in SPLITS for rating in self.splits.get(split, ())))
        reports = {path: report for path, report in net.assess_files(paths) if not isinstance(report, AudioError)}
        results = {}
        for name in self.measures:
            true, head, own = {}, {}, {}
            for split in SPLITS:
                ratings = [r for r in self.splits[split] if r.measure == name and r.path in reports]
                true[split] = np.array([rating.score for rating in ratings])
                head[split] = np.array([reports[rating.path].measures[name] for rating in ratings])
                own[split] = np.array([reports[rating.path].score for rating in ratings])
            slope, offset = fit_line(own["train"], true["train"])
            values = {split: agreement(head[split], true[split]) for split in SPLITS}
            values["test_of_mapped_score"] = agreement(slope * own["test"] + offset, true["test"])
            for title, kind in (("test", "test"), (f"test of the {net.scale} score, mapped", "test_of_mapped_score")):
                logger.info("Ratings of %s, %s: %s", name, title, describe(values[kind]))
            if (values["test"]["rmse"] or 0) > (values["test_of_mapped_score"]["rmse"] or math.inf):
                logger.warning(
                    "The output for %s is no better than the mapped %s score: use more ratings, or that score.",
                    name,
                    net.scale,
                )
            results[name] = values
        return results

    def _scores(self, split: str, measure: str) -> list[float]:
        return [rating.score for rating in self.splits[split] if rating.measure == measure]

    def _excerpt(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        start = int(rng.integers(max(0, len(samples) - self.max_samples) + 1))
        return samples[start : start + self.max_samples]

    def _padded(self, ratings: Sequence[Rating], waveforms: Sequence[np.ndarray]) -> RatingBatch:
        longest = max(map(len, waveforms))
        wavs = torch.from_numpy(np.stack([np.pad(samples, (0, longest - len(samples))) for samples in waveforms]))
        targets = torch.full((len(ratings), len(self.measures)), math.nan)
        for row, rating in enumerate(ratings):
            targets[row, self.measures.index(rating.measure)] = rating.score
        return RatingBatch(wavs, torch.tensor([len(samples) / longest for samples in waveforms]), targets)


# ------------------------------------------------------------------------------------------------------- metrics


def agreement(predicted, true) -> dict:
    """Number of ratings, LCC, SRCC and RMSE of predictions; None where undefined.

    >>> agreement([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    {'ratings': 3, 'lcc': 1.0, 'srcc': 1.0, 'rmse': 0.0}
    """
    if not len(true):
        return {"ratings": 0, "lcc": None, "srcc": None, "rmse": None}
    values = {"lcc": metrics.lcc(predicted, true), "srcc": metrics.srcc(predicted, true)}
    values["rmse"] = math.sqrt(metrics.mse(predicted, true))
    rounded = {name: None if math.isnan(value) else round(value, 4) for name, value in values.items()}
    return {"ratings": len(true)} | rounded


def describe(values: dict) -> str:
    """Describe what :func:`agreement` returns.

    >>> describe({"ratings": 12, "lcc": 0.71, "srcc": None, "rmse": 0.4})
    '12 recordings, LCC 0.710, SRCC –, RMSE 0.400'
    """
    numbers = {name: "–" if values[name] is None else f"{values[name]:.3f}" for name in ("lcc", "srcc", "rmse")}
    return ", ".join([f"{values['ratings']} recordings", *(f"{key.upper()} {text}" for key, text in numbers.items())])


def fit_line(inputs: np.ndarray, outputs: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the line that fits best; a constant where the inputs are.

    >>> slope, offset = fit_line(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    >>> round(slope, 6), round(offset, 6)
    (2.0, 1.0)
    """
    variance = np.var(inputs)
    slope = float(np.mean((inputs - inputs.mean()) * (outputs - outputs.mean())) / variance) if variance > 0 else 0.0
    return slope, float(outputs.mean() - slope * inputs.mean())
