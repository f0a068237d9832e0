"""The segment that holds the keyword (kind ``segment``): a fixed length cut from a longer recording (GE2E paper, 3).

In the paper the keyword detector hands over the frames of the keyword, usually 800 ms. Recordings of a corpus seldom
come with a detector: there the keyword is what was said, and is looked for where the recording is loud. Where a corpus
tells when the keyword ends, that is used instead.
"""

import torch
from torch import Tensor, nn

from speechtools.audio.vad import EnergyVAD
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.registry import plugin


@plugin("segment/energy")
class EnergySegment:
    """Where the smoothed log energy of the speech is largest, over all places of the segment.

    Energies count from the quietest speech upwards, so a segment gains nothing from background. Of places that are
    equally good, as all those are that hold a short keyword whole, it is the middle one.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    seconds : float
        Length of the segment (the paper: 0.8).
    smooth_ms : float
        Width of the moving average over the log energy.
    after_ms : float
        What is kept behind the keyword's end, where that is known.

    Shape
    -----
    wav (samples,) -> int, the segment's first sample; ``end`` is the keyword's last sample, where it is known

    Example
    -------
    >>> wav = torch.zeros(32000)
    >>> wav[12000:20000] = torch.randn(8000)
    >>> 8000 <= EnergySegment()(wav) <= 12000
    True
    """

    def __init__(self, sample_rate: int = 16000, seconds: float = 0.8, smooth_ms: float = 50.0, after_ms: float = 50.0):
        if not 0.1 <= seconds <= 10:
            raise ConfigError(f"seconds={seconds} is no length of a keyword: give 0.1 to 10, as in the paper's 0.8.")
        self.detector = EnergyVAD(sample_rate=sample_rate)
        self.sample_rate, self.num_samples = sample_rate, round(seconds * sample_rate)
        self.width = max(1, round(smooth_ms / 1000 * sample_rate / self.detector.hop_length))
        self.after = round(after_ms / 1000 * sample_rate)

    def __call__(self, wav: Tensor, end: int | None = None) -> int:
        """The first sample of the segment in ``wav``.

        Raises
        ------
        AudioError
            The recording is shorter than the segment, silent, or ends before ``end``.
        """
        if wav.dim() != 1:
            raise AudioError(f"A segment is cut from one waveform (samples,), mono; got shape {tuple(wav.shape)}.")
        room = len(wav) - self.num_samples
        if room < 0:
            raise AudioError(
                f"{len(wav) / self.sample_rate:.3f} s is shorter than the segment of "
                f"{self.num_samples / self.sample_rate} s that is to hold the keyword: a "
                "longer recording is needed."
            )
        if end is not None:
            if not 0 < end <= len(wav):
                raise AudioError(f"The keyword is said to end at sample {end}, but there are {len(wav)}.")
            return min(max(end + self.after - self.num_samples, 0), room)
        speech = self.detector(wav.unsqueeze(0))[0]
        # (time,)
        if not speech.any():
            raise AudioError("There is silence where the keyword should be.")
        return self._best(wav, speech, room)

    def _best(self, wav: Tensor, speech: Tensor, room: int) -> int:
        hop = self.detector.hop_length
        padded = nn.functional.pad(wav.double() - wav.double().mean(), (0, len(speech) * hop - len(wav)))
        level = 10 * torch.log10(padded.view(-1, hop).square().mean(dim=1) + 1e-10)
        # (time,) dB
        smooth = nn.functional.pad(level[None, None], (self.width // 2, (self.width - 1) // 2), mode="replicate")
        smooth = nn.functional.avg_pool1d(smooth, self.width, 1)[0, 0]
        # (time,)
        gain = torch.where(speech, 1 + smooth - smooth[speech].min(), 0.0)
        total = torch.cat([gain.new_zeros(1), gain.cumsum(0)])
        frames = self.num_samples // hop
        places = torch.arange(0, max(len(speech) - frames, 0) + 1)
        held = total[(places + frames).clamp(max=len(speech))] - total[places]
        # (places,)
        best = torch.nonzero(held >= held.max() - 1e-6).flatten()
        return min(int(best[len(best) // 2]) * hop, room)
