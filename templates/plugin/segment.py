"""segment/my-net: a choice of segments.

THE CONTRACT
"""

from torch import Tensor

from speechtools import plugin
from speechtools.core.errors import AudioError


@plugin("segment/my-net")
class MyNetSegment:
    """The segment with the most energy.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    seconds : float
        Length of the segment.

    Shape
    -----
    wav (samples,) -> int, the segment's first sample; ``end`` is the keyword's last sample, if it is known
    """

    def __init__(self, sample_rate: int = 16000, seconds: float = 0.8):
        self.sample_rate, self.num_samples = sample_rate, round(seconds * sample_rate)

    def __call__(self, wav: Tensor, end: int | None = None) -> int:
        """Return the first sample of the segment; raises AudioError for silence or a ``wav`` that is too short."""
        room = len(wav) - self.num_samples
        if room < 0:
            raise AudioError(
                f"{len(wav) / self.sample_rate:.3f} s is shorter than the segment of "
                f"{self.num_samples / self.sample_rate} s. Pass a longer recording."
            )
        if end is not None:
            return min(max(end - self.num_samples, 0), room)
        if not wav.any():
            raise AudioError("The recording is silent. Pass one with the keyword.")
        energy = wav.double().square().cumsum(dim=0)
        # (samples,), of all samples up to this one
        of_segment = energy[self.num_samples - 1 :].clone()
        of_segment[1:] -= energy[:room]
        # (room + 1,)
        return int(of_segment.argmax())
