"""``speechtools score --live``: a moving score, and the regions of a stream as they end."""

import math
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from speechtools.cli.live import live_blocks

if TYPE_CHECKING:
    from speechtools.quality.regions import CauseRegion
    from speechtools.quality.streams import QualityUpdate

#: The bundled model for streams.
MODEL = "quality-net-live"
#: Scores of the last seconds, each as a bar.
_BARS = " ▁▂▃▄▅▆▇█"
_NUM_BARS = 60
#: A cause is named from this mean probability in a second on.
_PRESENT = 0.5


class LiveScore:
    """What is shown of a stream: each second, its score and causes; on a terminal, a line that moves.

    Parameters
    ----------
    model : QualityNet
    is_terminal : bool
        Whether lines can be redrawn.
    """

    def __init__(self, model: Any, is_terminal: bool):
        self.model, self.is_terminal = model, is_terminal
        self.second, self.causes, self.seconds = [], [], 0  # type: ignore[var-annotated]
        self.bars: deque[str] = deque(maxlen=_NUM_BARS)
        self.score = math.nan

    def lines(self, update: "QualityUpdate") -> list[str]:
        """Lines for an update: each second, and each region that has a cause and has ended."""
        lines = []
        for time, score, causes in zip(update.times, update.frame_scores, update.causes, strict=True):
            if time >= self.seconds + 1:
                lines.append(self._second())
            self.second.append(score)
            self.causes.append(causes)
        self.score = update.score
        return lines + [describe_region(region) for region in update.regions if region.causes]

    def last(self) -> list[str]:
        """The line of the second that has begun."""
        return [self._second()] if self.second else []

    def _second(self) -> str:
        scores = np.array(self.second)
        heard = ~np.isnan(scores)
        score = float(scores[heard].mean()) if heard.any() else math.nan
        causes = np.array(self.causes)[heard].mean(axis=0) if heard.any() else np.zeros(0)
        names = [name for name, share in zip(self.model.cause_names, causes, strict=False) if share > _PRESENT]
        self.seconds += 1
        self.second, self.causes = [], []
        self.bars.append(self._bar(score))
        if not self.is_terminal:
            return f"{self.seconds}\t{score:.2f}\t{self.score:.2f}\t{', '.join(names)}"
        return f"{''.join(self.bars)} {score:.2f} now, {self.score:.2f} in {self.seconds} s  {', '.join(names)}"

    def _bar(self, score: float) -> str:
        measure = self.model.measure
        if math.isnan(score) or measure is None:
            return _BARS[0]
        low, high = (
            (measure.minimum, measure.maximum) if measure.higher_is_better else (measure.maximum, measure.minimum)
        )
        return _BARS[max(1, min(8, round(1 + 7 * (score - low) / (high - low))))]


def describe_region(region: "CauseRegion") -> str:
    """A region in a few words.

    >>> from speechtools.quality.regions import CauseRegion
    >>> describe_region(CauseRegion(3.2, 4.1, 1.5, 0.31, ("clipping",)))
    '# 3.2 to 4.1 s: clipping, score 1.50'
    """
    return f"# {region.start:.1f} to {region.end:.1f} s: {', '.join(region.causes)}, score {region.score:.2f}"


def score_live(model: Any, raw: int | None) -> int:
    """Show the quality of what is being spoken, until it ends."""
    stream, is_terminal = model.stream(raw), sys.stdout.isatty()
    live = LiveScore(model, is_terminal)
    if not is_terminal:
        print("# second\tscore\tscore so far\tcauses")

    def show(lines: list[str]) -> None:
        for line in lines:
            if is_terminal and not line.startswith("#"):
                print(f"\r\x1b[K{line}", end="", flush=True)
            else:
                print(f"\r\x1b[K{line}" if is_terminal else line, flush=True)

    for block in live_blocks(model.sample_rate, raw):
        show(live.lines(stream.feed(block)))
    show([*live.lines(stream.finish()), *live.last()])
    if is_terminal:
        print()
    if math.isnan(stream.score):
        print("Nothing was heard: the stream was empty, or digital silence.", file=sys.stderr)
        return 1
    print(f"score {stream.score:.2f} in {stream.num_samples / model.sample_rate:.1f} s", file=sys.stderr)
    return 0
