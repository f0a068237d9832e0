"""The predicted quality of a recording, without torch."""

from dataclasses import dataclass, field

import numpy as np

from speechtools.quality.regions import CauseRegion, Region, find_regions, frame_edges


@dataclass(frozen=True, repr=False)
class QualityReport:
    """The predicted quality of one recording.

    Attributes
    ----------
    score : float
        Predicted quality of the recording: the mean of ``frame_scores``.
    frame_scores : np.ndarray
        Predicted quality of each frame, (time,); in digital silence, which does not count, that of the recording.
    times : np.ndarray
        Middle of each frame in seconds, (time,).
    duration : float
        Length of the recording in seconds.
    hop : float
        Seconds from one frame to the next.
    scale : str
        Scale of the scores: ``raw_nb``, ``nb`` or ``wb`` PESQ, or another measure.
    silent : np.ndarray, optional
        Whether a frame is in digital silence of 0.5 s or more, (time,).
    higher_is_better : bool
        Direction of the scale.
    causes : np.ndarray, optional
        Probability of each cause in each frame, (time, causes); None for models that do not predict causes.
    cause_names : tuple
        Names of the causes, such as ``noise``.
    best : float, optional
        Best score of the scale; None if the model does not know it.
    measures : dict
        Further scores of the recording by the name of the measure, such as ``{"mos": 3.4}``; empty for models without.

    Examples
    --------
    >>> QualityReport(2.5, np.array([4.0, 1.0]), np.arange(2) + 0.5, 2.0, 1.0, "raw_nb")
    QualityReport(score=2.50, duration=2.0 s, scale='raw_nb')
    """

    score: float
    frame_scores: np.ndarray
    times: np.ndarray
    duration: float
    hop: float
    scale: str
    silent: np.ndarray | None = None
    higher_is_better: bool = True
    causes: np.ndarray | None = None
    cause_names: tuple[str, ...] = ()
    best: float | None = None
    measures: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"QualityReport(score={self.score:.2f}, duration={self.duration:.1f} s, scale={self.scale!r})"

    def degraded_regions(self, below: float, min_duration: float = 0.0) -> list[Region]:
        """Find the regions whose frame scores are all below a threshold. Digital silence is not among them.

        Where lower scores are better, those above the threshold.

        Parameters
        ----------
        below : float
            Threshold on the model's scale.
        min_duration : float
            Shortest region in seconds.

        Examples
        --------
        >>> report = QualityReport(2.5, np.array([4.0, 1.0, 2.0, 3.0]), np.arange(4) + 0.5, 4.0, 1.0, "raw_nb")
        >>> report.degraded_regions(below=2.5)
        [Region(start=1.0, end=3.0, score=1.5)]
        """
        low = self.frame_scores < below if self.higher_is_better else self.frame_scores > below
        is_low = np.concatenate([[False], low if self.silent is None else low & ~self.silent, [False]])
        edges = frame_edges(self.times, self.hop, self.duration)
        regions = []
        for first, end in np.flatnonzero(is_low[1:] != is_low[:-1]).reshape(-1, 2):
            start, stop = float(edges[first]), float(edges[end])
            if stop - start >= min_duration:
                regions.append(Region(start, stop, float(self.frame_scores[first:end].mean())))
        return regions

    def regions(
        self,
        min_cost: float | None = 0.05,
        min_duration: float = 0.1,
        best: float | None = None,
        threshold: float = 0.5,
        below: float | None = None,
    ) -> list[CauseRegion]:
        """Divide the recording into regions with the same causes, in time order, and tell what each one costs.

        The score is a mean over frames, so the costs of all regions (``min_cost=None``) add up to ``best - score``.
        The frames without any cause are regions, too. Without a model of causes, the regions are those that are
        degraded, and those that are not.

        Parameters
        ----------
        min_cost : float, optional
            Regions that cost less are left out. None: all are returned, also those that are better than ``best``.
        min_duration : float
            A shorter stretch in seconds becomes a part of its neighbour.
        best : float, optional
            Score from which costs are counted. Default: the best of the scale.
        threshold : float
            Probability above which a cause is present. It is averaged first, and short gaps are filled.
        below : float, optional
            Without a model of causes, scores that are worse count as degraded, averaged over 0.25 s. Default: 2.5 on
            scales like those of PESQ and mean opinion scores; otherwise the recording is one region.

        Raises
        ------
        ConfigError
            The best score of the scale is not known, or a parameter is out of range.

        Examples
        --------
        >>> scores, loss = np.repeat([4.5, 2.5], 50), np.repeat([0.0, 0.9], 50)[:, None]
        >>> times = 0.02 * np.arange(100) + 0.01
        >>> report = QualityReport(3.5, scores, times, 2.0, 0.02, "raw_nb", causes=loss, cause_names=("loss",))
        >>> for region in report.regions():
        ...     print(f"{region.start:.1f} to {region.end:.1f} s: {region.causes[0]} costs {region.cost:.2f}")
        1.0 to 2.0 s: loss costs 1.00
        """
        regions = find_regions(self, min_duration, best, threshold, below)
        return [region for region in regions if min_cost is None or region.cost >= min_cost]
