"""The segment that contains the keyword (kind ``segment``): a fixed length cut from a longer recording (GE2E paper, 3).

In the paper, a keyword detector returns the frames of the keyword, usually 800 ms. A corpus rarely comes with a
detector; the keyword is then expected where the recording is loud. If the corpus has the time at which the keyword
ends, that is used instead.
"""

import torch
from torch import Tensor, nn

from speechtools.audio.vad import EnergyVAD
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.registry import plugin


@plugin("segment/energy")
class EnergySegment:
    """The segment with the largest smoothed log energy of speech.

    Energy is measured relative to the quietest speech, so background adds nothing. Of equally good positions, such as
    all that contain a short keyword entirely, the middle one is taken.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    seconds : float
        Length of the segment (0.8 in the paper).
    smooth_ms : float
        Width of the moving average over the log energy.
    after_ms : float
        Kept after the end of the keyword, if that is known.

    Shape
    -----
    wav (samples,) -> int, the first sample of the segment; ``end`` is the last sample of the keyword, if known

    Examples
    --------
    >>> wav = torch.zeros(32000)
    >>> wav[12000:20000] = torch.randn(8000)
    >>> 8000 <= EnergySegment()(wav) <= 12000
    True
    """

    def __init__(self, sample_rate: int = 16000, seconds: float = 0.8, smooth_ms: float = 50.0, after_ms: float = 50.0):
        if not 0.1 <= seconds <= 10:
            raise ConfigError(f"seconds={seconds} is out of range. Use 0.1 to 10, such as the paper's 0.8.")
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
            raise AudioError(f"A segment is cut from a mono waveform (samples,); got shape {tuple(wav.shape)}.")
        room = len(wav) - self.num_samples
        if room < 0:
            seconds, needed = len(wav) / self.sample_rate, self.num_samples / self.sample_rate
            raise AudioError(f"{seconds:.3f} s is shorter than the segment of {needed} s. Lower segment_seconds.")
        if end is not None:
            if not 0 < end <= len(wav):
                raise AudioError(f"The keyword ends at sample {end}, but the recording has {len(wav)}.")
            return min(max(end + self.after - self.num_samples, 0), room)
        speech = self.detector(wav.unsqueeze(0))[0]
        # (time,)
        if not speech.any():
            raise AudioError("The recording contains no speech.")
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
        energy = total[(places + frames).clamp(max=len(speech))] - total[places]
        # (places,)
        best = torch.nonzero(energy >= energy.max() - 1e-6).flatten()
        return min(int(best[len(best) // 2]) * hop, room)
