"""Where the sliding windows of an utterance begin (GE2E paper, section 3.2), without torch."""

from speechtools.core.errors import ConfigError


def window_starts(num_frames: int, window_frames: int = 160, hop_frames: int = 80) -> list[int]:
    """First frames of the windows over an utterance.

    A window starts every ``hop_frames``; if frames remain at the end, one more window ends with the utterance. An
    utterance shorter than a window is a single shorter window.

    Raises
    ------
    ConfigError
        A length is not positive, or the step is longer than the window, which would skip frames.

    Examples
    --------
    >>> window_starts(400), window_starts(170), window_starts(100)
    ([0, 80, 160, 240], [0, 10], [0])
    """
    if not 1 <= hop_frames <= window_frames or num_frames < 1:
        raise ConfigError(
            f"Windows of {window_frames} frames every {hop_frames} cannot cover {num_frames} frames: all must be at "
            "least 1, and the step no longer than the window."
        )
    last = max(num_frames - window_frames, 0)
    starts = list(range(0, last + 1, hop_frames))
    return starts if starts[-1] == last else [*starts, last]


def covered_frames(whole_frames: int, window_frames: int, hop_frames: int, min_coverage: float) -> int:
    """Number of frames to which an utterance is padded with zeros or cut, so that whole windows cover it.

    This is Resemblyzer's rule, instead of a last window that ends with the utterance: windows start every
    ``hop_frames``, and the last one is left out if less than ``min_coverage`` of it is in the utterance. There is one
    window at least.

    Parameters
    ----------
    whole_frames : int
        Length of the utterance in steps from frame to frame, rounded down.
    window_frames, hop_frames : int
        As in :func:`window_starts`.
    min_coverage : float
        Share of a window, above 0 and up to 1.

    Examples
    --------
    >>> [covered_frames(frames, 160, 77, 0.75) for frames in (100, 196, 197, 240)]
    [160, 160, 237, 237]
    """
    starts = list(range(0, max(1, whole_frames - window_frames + hop_frames + 2), hop_frames))
    if len(starts) > 1 and whole_frames - starts[-1] < min_coverage * window_frames:
        starts.pop()
    return starts[-1] + window_frames
