"""Voice activity detection (kind ``vad``): which frames of a recording contain speech.

``(batch, samples) -> booleans (batch, time)``, one per ``hop_length`` samples; the last frame may be shorter. Frames
beyond an item's length are false.
"""

import math
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.audio.level import to_level
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin

#: Frames below this level (dB) have no sound at all.
_DIGITAL_SILENCE_DB = -119.0


def speech_samples(wav: Tensor, speech: Tensor, hop_length: int) -> Tensor:
    """Keep the samples of speech frames: (samples,) and booleans (time,) -> (kept samples,).

    >>> speech_samples(torch.arange(6.0), torch.tensor([True, False, True]), 2).tolist()
    [0.0, 1.0, 4.0, 5.0]
    """
    return wav[speech.repeat_interleave(hop_length)[: len(wav)]]


@plugin("vad/energy")
class EnergyVAD(nn.Module):
    """Detect the frames that rise above the background level of the recording.

    The level of 30 ms around each frame, without the constant offset of the recording, is compared with a threshold
    between the background (10th percentile of the levels) and the loud frames (95th). Gaps shorter than
    ``hangover_ms`` are closed; then bursts shorter than ``min_speech_ms`` are removed, unless nothing would remain. A
    recording of even level is all speech; digital silence never is.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    hop_ms : float
        Length of a frame in milliseconds.
    threshold : float
        Position of the threshold between the background (0) and the loud frames (1), in dB.
    max_range_db : float
        Frames further below the loud frames than this are never speech: a floor for recordings without background.
    min_range_db : float
        A recording whose loud frames are less than this above the background is of even level.
    hangover_ms, min_speech_ms : float
        In milliseconds.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time), time = ceil(samples / hop_length)

    Examples
    --------
    >>> wav = torch.cat([torch.zeros(8000), torch.randn(8000)]).unsqueeze(0)
    >>> speech = EnergyVAD()(wav)
    >>> speech.shape, speech[0, :45].any().item(), speech[0, 52:].all().item()
    (torch.Size([1, 100]), False, True)
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        hop_ms: float = 10.0,
        threshold: float = 0.35,
        max_range_db: float = 35.0,
        min_range_db: float = 10.0,
        hangover_ms: float = 200.0,
        min_speech_ms: float = 100.0,
    ):
        super().__init__()
        self.hop_length = round(hop_ms * sample_rate / 1000)
        if self.hop_length < 1 or not 0 < threshold < 1 or min(hangover_ms, min_speech_ms, min_range_db) < 0:
            raise ConfigError(
                f"hop_ms={hop_ms}, threshold={threshold}, hangover_ms={hangover_ms}, min_speech_ms={min_speech_ms}: "
                "vad/energy needs a hop of a sample or more, 0 < threshold < 1, and durations of 0 or more."
            )
        self.threshold, self.max_range_db, self.min_range_db = threshold, max_range_db, min_range_db
        self.hangover_frames = round(hangover_ms / hop_ms)
        self.min_speech_frames = round(min_speech_ms / hop_ms)

    @torch.no_grad()
    def forward(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Detect the speech frames of a padded batch."""
        batch, samples = wavs.shape
        counts = frame_counts(wavs, lens)
        inside = length_mask(counts, samples)
        # (batch, samples)
        offset = (wavs * inside).sum(dim=1) / counts
        centred = (wavs - offset.unsqueeze(1)) * inside
        # Rounding leaves a residue of a constant, which is not a signal.
        sounding = centred.abs().amax(dim=1) > 1e-5 * offset.abs()
        time = (samples + self.hop_length - 1) // self.hop_length
        padded = nn.functional.pad(centred, (0, time * self.hop_length - samples))
        blocks = padded.view(batch, time, self.hop_length)
        # What rounding and the offset leave of digital silence is constant.
        energy = blocks.square().mean(dim=2).masked_fill(blocks.amax(dim=2) == blocks.amin(dim=2), 0.0)
        # (batch, time)
        frames = (counts + self.hop_length - 1) // self.hop_length
        valid = length_mask(frames, time)
        # The mean of each frame and its neighbours, of which there are fewer at both ends of an item.
        pairs = torch.stack([energy, valid.to(energy.dtype)])
        # (2, batch, time)
        sums = nn.functional.avg_pool1d(pairs, 3, 1, 1)
        energy = sums[0] / sums[1].clamp(min=0.1)
        levels = 10 * torch.log10(energy + 1e-12).masked_fill(~valid, math.inf)
        # Percentiles of the frames with sound; the others, and those beyond an item's length, are sorted to the end.
        sound = valid & (levels > _DIGITAL_SILENCE_DB)
        frames = sound.sum(dim=1).clamp(min=1)
        ordered = levels.masked_fill(~sound, math.inf).sort(dim=1).values
        background, loud, loudest = (_at_share(ordered, frames, share) for share in (0.10, 0.95, 1.0))
        # A word in a long pause is far louder than the rest. A click is, too, but it is shorter than any speech.
        rank = (frames - max(self.min_speech_frames, 1)).clamp(min=0).unsqueeze(1)
        lasting = torch.maximum(loud, ordered.gather(1, rank).squeeze(1))
        loudest = torch.where(loud < _DIGITAL_SILENCE_DB, loudest, lasting)
        loud = torch.where(loudest - loud > self.max_range_db, loudest, loud)
        background = torch.maximum(background, loud - self.max_range_db / (1 - self.threshold))
        limit = background + self.threshold * (loud - background)
        limit = torch.where(loud - background < self.min_range_db, background - 1, limit)
        speech = (levels >= limit.unsqueeze(1)) & valid & sounding.unsqueeze(1)
        # (batch, time)
        # What is beyond the end of an item counts as speech, as in _erode, so that padding changes nothing.
        closed = _erode(_dilate(speech, self.hangover_frames) | ~valid, self.hangover_frames) & valid | speech
        runs = _dilate(_erode(closed | ~valid, self.min_speech_frames) & valid, self.min_speech_frames) & closed
        runs = runs | closed & ~runs.any(dim=1, keepdim=True)
        return runs & sounding.unsqueeze(1)


def _at_share(ordered: Tensor, counts: Tensor, share: float) -> Tensor:
    """Quantile of the first ``counts[i]`` ordered values of each row: (batch, time) -> (batch,)."""
    index = ((counts - 1) * share).floor().long()
    return ordered.gather(1, index.unsqueeze(1)).squeeze(1)


def _dilate(mask: Tensor, width: int) -> Tensor:
    """True where any of the last ``width`` frames is; followed by :func:`_erode`, it closes gaps."""
    width = max(width, 1)
    padded = nn.functional.pad(mask.float().unsqueeze(1), (width - 1, 0))
    return nn.functional.max_pool1d(padded, width, 1).squeeze(1) > 0


def _erode(mask: Tensor, width: int) -> Tensor:
    """True where all of the next ``width`` frames are; those beyond the end count as true."""
    return ~_dilate(~mask.flip(1), width).flip(1)


@plugin("vad/webrtc")
class WebRTCVAD:
    """Detector of the WebRTC project, from the package ``webrtcvad-wheels`` (``pip install speechtools[vad]``).

    Parameters
    ----------
    sample_rate : int
        8000, 16000, 32000 or 48000 Hz.
    aggressiveness : int
        0 to 3; higher values accept less as speech.
    hop_ms : int
        10, 20 or 30 milliseconds.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time), time = ceil(samples / hop_length)

    Examples
    --------
    >>> WebRTCVAD()(torch.zeros(1, 16000)).any().item()  # digital silence
    False
    """

    def __init__(self, sample_rate: int = 16000, aggressiveness: int = 1, hop_ms: int = 10):
        try:
            import webrtcvad
        except ImportError as error:
            raise ConfigError(
                "vad/webrtc needs the package webrtcvad-wheels. Run pip install speechtools[vad], or use vad/energy."
            ) from error
        rates, hops = (8000, 16000, 32000, 48000), (10, 20, 30)
        if sample_rate not in rates or hop_ms not in hops or aggressiveness not in range(4):
            raise ConfigError(
                f"sample_rate={sample_rate}, hop_ms={hop_ms}, aggressiveness={aggressiveness}: vad/webrtc takes "
                f"{rates} Hz, {hops} ms, and 0 to 3."
            )
        self.make, self.aggressiveness = webrtcvad.Vad, aggressiveness
        self.sample_rate, self.hop_length = sample_rate, sample_rate * hop_ms // 1000

    def __call__(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Detect the speech frames of a padded batch."""
        speech = torch.zeros(len(wavs), -(-wavs.shape[1] // self.hop_length), dtype=torch.bool)
        for row, count in enumerate(frame_counts(wavs, lens).tolist()):
            wav = wavs[row, :count].detach().cpu().double().numpy()
            wav = wav - wav.mean()
            peak = np.abs(wav).max()
            if peak < 1e-9:
                continue
            # Its thresholds are absolute, so a quiet recording is amplified to a usual level.
            pcm = np.zeros(-(-count // self.hop_length) * self.hop_length, dtype=np.int16)
            pcm[:count] = np.round(wav / peak * 0.7 * 32767)
            frames = pcm.reshape(-1, self.hop_length)
            # It reports constant frames that follow a step as speech.
            varying = torch.from_numpy(frames.max(axis=1) > frames.min(axis=1))
            detected = varying & torch.from_numpy(self._decisions(frames))
            # A recording with a signal always keeps some speech.
            speech[row, : len(frames)] = detected if detected.any() else varying
        return speech.to(wavs.device)

    def _decisions(self, frames: np.ndarray) -> np.ndarray:
        """Whether each frame of 16-bit samples (time, hop_length) is speech, to a new detector: booleans (time,)."""
        detector = self.make(self.aggressiveness)
        return np.array([detector.is_speech(frame.tobytes(), self.sample_rate) for frame in frames], dtype=bool)


@plugin("vad/webrtc-smoothed")
class SmoothedWebRTCVAD(WebRTCVAD):
    """The WebRTC detector with its decisions averaged and extended, as Resemblyzer trims pauses.

    A frame is speech if most of those around it are, or if such a frame is near. Needs the package
    ``webrtcvad-wheels`` (``pip install speechtools[vad]``).

    Parameters
    ----------
    sample_rate, aggressiveness, hop_ms : int
        As in :class:`WebRTCVAD`.
    average_frames : int
        Decisions that are averaged, about half of them before a frame and half after it.
    extend_frames : int
        Frames on each side of speech that are kept.
    level_db : float
        Quiet recordings are amplified to this RMS, in dB; louder ones are left.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time), time = ceil(samples / hop_length). A last, shorter frame is
    never speech.

    Examples
    --------
    >>> SmoothedWebRTCVAD()(torch.zeros(1, 16000)).any().item()  # digital silence
    False
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        aggressiveness: int = 3,
        hop_ms: int = 30,
        average_frames: int = 8,
        extend_frames: int = 3,
        level_db: float = -30.0,
    ):
        if average_frames < 1 or extend_frames < 0:
            raise ConfigError(
                f"average_frames={average_frames}, extend_frames={extend_frames}: vad/webrtc-smoothed needs 1 or more, "
                "and 0 or more."
            )
        super().__init__(sample_rate, aggressiveness, hop_ms)
        self.average_frames, self.extend_frames, self.level_db = average_frames, extend_frames, level_db

    def __call__(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Detect the speech frames of a padded batch."""
        speech = torch.zeros(len(wavs), -(-wavs.shape[1] // self.hop_length), dtype=torch.bool)
        on_cpu = None if lens is None else lens.cpu()
        levelled = to_level(wavs.detach().cpu().float(), on_cpu, self.level_db, only_up=True)
        for row, count in enumerate(frame_counts(wavs, lens).tolist()):
            whole = count // self.hop_length
            wav = levelled[row, : whole * self.hop_length].numpy()
            pcm = np.clip(np.round(wav * 32767), -32768, 32767).astype(np.int16)
            decisions = self._decisions(pcm.reshape(-1, self.hop_length))
            speech[row, :whole] = torch.from_numpy(self._smooth(decisions))
        return speech.to(wavs.device)

    def _smooth(self, decisions: np.ndarray) -> np.ndarray:
        """Average and extend decisions (frames,)."""
        if not decisions.any():
            return decisions
        before = (self.average_frames - 1) // 2
        sums = np.convolve(decisions, np.ones(self.average_frames, int))
        sums = sums[self.average_frames - 1 - before :][: len(decisions)]
        most = 2 * sums > self.average_frames
        near = np.convolve(most, np.ones(2 * self.extend_frames + 1, int))[self.extend_frames :][: len(decisions)]
        return near > 0


@plugin("vad/silero")
class SileroVAD:
    """Neural detector that tells speech from noise, from the package ``silero-vad`` (``pip install speechtools[vad]``).

    Parameters
    ----------
    sample_rate : int
        8000 or 16000 Hz.
    threshold : float
        Probability of speech from which a frame counts; where speech goes on, 0.15 less is enough.
    min_speech_ms, min_silence_ms : int
        Shorter bursts are removed, and shorter gaps are closed.
    pad_ms : int
        Added on both sides of the speech.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time), time = ceil(samples / hop_length)

    Examples
    --------
    >>> SileroVAD()(0.1 * torch.randn(1, 16000)).any().item()  # noise
    False
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        threshold: float = 0.5,
        min_speech_ms: int = 100,
        min_silence_ms: int = 200,
        pad_ms: int = 30,
    ):
        try:
            import silero_vad
        except ImportError as error:
            raise ConfigError(
                "vad/silero needs the package silero-vad. Run pip install speechtools[vad], or use vad/energy."
            ) from error
        if sample_rate not in (8000, 16000) or not 0 < threshold < 1 or min(min_speech_ms, min_silence_ms, pad_ms) < 0:
            raise ConfigError(
                f"sample_rate={sample_rate}, threshold={threshold}, min_speech_ms={min_speech_ms}, "
                f"min_silence_ms={min_silence_ms}, pad_ms={pad_ms}: vad/silero takes 8000 or 16000 Hz, a threshold "
                "between 0 and 1, and durations of 0 or more."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it loads its network in a deprecated way
            self.detect, self.model = silero_vad.get_speech_timestamps, silero_vad.load_silero_vad()
        self.sample_rate, self.hop_length = sample_rate, sample_rate // 100
        self.options = {
            "threshold": threshold,
            "min_speech_duration_ms": min_speech_ms,
            "min_silence_duration_ms": min_silence_ms,
            "speech_pad_ms": pad_ms,
        }

    @torch.no_grad()
    def __call__(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Detect the speech frames of a padded batch."""
        speech = torch.zeros(len(wavs), -(-wavs.shape[1] // self.hop_length), dtype=torch.bool)
        for row, count in enumerate(frame_counts(wavs, lens).tolist()):
            wav = wavs[row, :count].detach().float().cpu()
            wav = wav - wav.mean()
            peak = wav.abs().max()
            if peak < 1e-9:
                continue
            # A quiet recording is amplified, since the network was trained on usual levels.
            sections = self.detect(wav / peak * 0.7, self.model, sampling_rate=self.sample_rate, **self.options)
            for section in sections:
                speech[row, section["start"] // self.hop_length : -(-section["end"] // self.hop_length)] = True
        return speech.to(wavs.device)
