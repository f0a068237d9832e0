"""Causes of bad quality: what each step of a simulation leaves in the speech, and when.

A cause is present where a step has changed the speech audibly. Noise, rooms, band limits and codecs are compared
over 0.4 s, clipping and losses over 16 ms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import binary_closing, uniform_filter1d

from speechtools.core.errors import CorpusError
from speechtools.core.runs import true_runs
from speechtools.core.spelling import did_you_mean

#: What a degradation can leave, in the order of the outputs of a network.
CAUSES = ("noise", "reverberation", "clipping", "loss", "band-limit", "processing")
#: Blocks in which presence is determined.
BLOCK_SECONDS = 0.016
#: A change that is weaker than this, relative to the speech around it, is not counted.
PRESENCE_DB = -30.0
#: Nor is one that is weaker than this, relative to the speech as a whole.
FLOOR_DB = -60.0
_SUSTAINED_BLOCKS = 25
_LOCAL = ("clipping", "loss")
_MAX_GAP_BLOCKS = 6


@dataclass
class Presence:
    """When causes are present in a recording.

    Attributes
    ----------
    blocks : dict
        Booleans (blocks,) by cause, of blocks of 16 ms; a cause that is missing is absent throughout.
    unknown : set
        Causes of which a later step, such as an enhancer, has left an unknown part.
    """

    blocks: dict[str, np.ndarray] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def add(self, causes: Sequence[str], before: np.ndarray, after: np.ndarray, sample_rate: int) -> None:
        """Add causes where speech (samples,) has changed audibly."""
        for cause in causes:
            changed = changed_blocks(before, after, sample_rate, cause in _LOCAL, cause == "clipping")
            self.blocks[cause] = self.blocks.get(cause, False) | changed

    def record(self, degrade: Callable, before: np.ndarray, after: np.ndarray, sample_rate: int) -> None:
        """Add what a plugin leaves in the speech (samples,) that it has changed, by its attribute ``causes``.

        It may also have left those in ``may_leave``, and may have removed a part of those in ``may_remove``: whether
        these are present is unknown. A plugin without ``causes`` may have left any.
        """
        causes = getattr(degrade, "causes", None)
        if causes is None:
            self.unknown.update(CAUSES)
            return
        self.add(causes, before, after, sample_rate)
        present = {cause for cause, blocks in self.blocks.items() if np.any(blocks)}
        self.unknown -= {cause for cause in causes if cause in present}
        self.unknown |= present & set(getattr(degrade, "may_remove", ()))
        self.unknown |= set(getattr(degrade, "may_leave", ())) - present


def degrade_with_causes(
    degrade: Callable, clean: np.ndarray, rng: np.random.Generator, sample_rate: int
) -> tuple[np.ndarray, Presence]:
    """Degrade samples (samples,) by a plugin, and return the result and when each cause is present in it."""
    if hasattr(degrade, "trace"):  # a chain records its steps itself
        return degrade.trace(clean, rng)
    degraded, presence = degrade(clean, rng), Presence()
    if degraded.shape == clean.shape:
        presence.record(degrade, clean, degraded, sample_rate)
    return degraded, presence


def changed_blocks(
    before: np.ndarray, after: np.ndarray, sample_rate: int, local: bool, any_gain: bool = False
) -> np.ndarray:
    """Whether speech (samples,) has changed audibly, in blocks of 16 ms: booleans (blocks,).

    With ``any_gain``, a block that differs by a gain alone has not changed: clipped speech is as loud as before, so
    that samples below the clipping level are louder.
    """
    size = round(BLOCK_SECONDS * sample_rate)

    def mean(samples: np.ndarray) -> np.ndarray:
        return np.pad(samples, (0, -len(samples) % size)).reshape(-1, size).mean(axis=1)

    before, after = before.astype(np.float64), after.astype(np.float64)
    speech = mean(np.square(before))
    if any_gain:
        product = mean(before * after)
        gain = product / np.maximum(speech, 1e-30)  # by least squares
        change, speech = np.maximum(mean(np.square(after)) - gain * product, 0), np.square(gain) * speech
    else:
        change = mean(np.square(after - before))
    # (blocks,)
    floor = 10 ** (FLOOR_DB / 10) * speech.mean()
    if not local:
        change, speech = (uniform_filter1d(values, _SUSTAINED_BLOCKS) for values in (change, speech))
    changed = (change > 10 ** (PRESENCE_DB / 10) * speech) & (change > floor)
    if local or not changed.any():
        return changed
    # Short gaps between two present blocks are heard as one stretch.
    padded = np.pad(changed, _MAX_GAP_BLOCKS, mode="edge")
    return binary_closing(padded, np.ones(_MAX_GAP_BLOCKS + 1))[_MAX_GAP_BLOCKS:-_MAX_GAP_BLOCKS]


def format_causes(presence: Presence) -> str:
    """Presence as the text of a manifest: ``noise; loss 1.20-1.24 2.00-2.06; ?reverberation``.

    A cause without times is present throughout; a question mark means unknown. Without any, it is ``none``.

    Examples
    --------
    >>> format_causes(Presence({"noise": np.array([True, True]), "loss": np.array([False, True])}, {"clipping"}))
    'noise; ?clipping; loss 0.016-0.032'
    """
    parts = []
    for cause in CAUSES:
        blocks = presence.blocks.get(cause)
        if cause in presence.unknown:
            parts.append(f"?{cause}")
        elif blocks is not None and blocks.all():
            parts.append(cause)
        elif blocks is not None and blocks.any():
            times = (f"{first * BLOCK_SECONDS:.3f}-{end * BLOCK_SECONDS:.3f}" for first, end in true_runs(blocks))
            parts.append(" ".join([cause, *times]))
    return "; ".join(parts) or "none"


def parse_causes(text: str | None, times: np.ndarray) -> np.ndarray:
    """Presence at times in seconds (time,), from the text of a manifest; None means that nothing is known.

    Returns
    -------
    np.ndarray
        (time, 6) float32, in the order of :data:`CAUSES`: 1 present, 0 absent, NaN unknown.

    Raises
    ------
    CorpusError
        It is not such a text.

    Examples
    --------
    >>> parse_causes("noise; loss 1.0-2.0; ?clipping", np.array([0.5, 1.5]))[:, :4].tolist()
    [[1.0, 0.0, nan, 0.0], [1.0, 0.0, nan, 1.0]]
    """
    present = np.full((len(times), len(CAUSES)), 0.0 if text else np.nan, dtype=np.float32)
    if not text or text == "none":
        return present
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, *spans = part.split()
        cause = name.removeprefix("?")
        if cause not in CAUSES:
            raise CorpusError(f"Unknown cause {cause!r} in {text!r}.{did_you_mean(cause, CAUSES)}")
        column = present[:, CAUSES.index(cause)]
        if name.startswith("?"):
            column[:] = np.nan
        elif not spans:
            column[:] = 1.0
        for span in spans:
            start, _, end = span.partition("-")
            try:
                column[(times >= float(start)) & (times < float(end))] = 1.0
            except ValueError:
                raise CorpusError(f"Invalid time {span!r} in {text!r}. Write seconds, as in 1.20-1.24.") from None
    return present
