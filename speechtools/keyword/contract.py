"""The contract of the kind ``segment``."""

from speechtools.core.contract import Broken, Contract, Slot, Subject, register_kind
from speechtools.core.errors import AudioError
from speechtools.core.laws import tensor_law

# ---- segment

_NUM_SAMPLES, _KEYWORD_SAMPLES = 48000, 6400


@tensor_law("the segment lies within the recording", "Return an int from 0 to samples - self.num_samples.")
def _start_lies_within(subject: Subject, torch) -> None:
    segment = subject.build()
    for samples in (segment.num_samples, segment.num_samples + 7, _NUM_SAMPLES):
        start = segment(0.1 * torch.randn(samples))
        if not isinstance(start, int) or not 0 <= start <= samples - segment.num_samples:
            raise Broken(f"{start!r} for {samples} samples and a segment of num_samples={segment.num_samples}")


@tensor_law("a keyword shorter than the segment lies entirely within it", "Look for the loudest place.")
def _keyword_inside(subject: Subject, torch) -> None:
    segment = subject.build()
    for first in (0, 9000, _NUM_SAMPLES - _KEYWORD_SAMPLES):
        last = first + _KEYWORD_SAMPLES
        wav = 0.001 * torch.randn(_NUM_SAMPLES)  # faint noise with a loud keyword
        wav[first:last] += 0.2 * torch.randn(_KEYWORD_SAMPLES)
        start = segment(wav)
        if start > first + 160 or start + segment.num_samples < last - 160:
            raise Broken(f"samples {start} to {start + segment.num_samples} for a keyword from {first} to {last}")


@tensor_law("if the keyword's end is known, the segment ends there or shortly after it", "Use end instead of looking.")
def _end_respected(subject: Subject, torch) -> None:
    segment = subject.build()
    start, end = segment(0.1 * torch.randn(_NUM_SAMPLES), end=40000), 40000
    if not start < end <= start + segment.num_samples <= end + 4000:
        raise Broken(f"samples {start} to {start + segment.num_samples} for a keyword that ends at {end}")


@tensor_law("silence and too short recordings raise an AudioError", "Raise speechtools.core.errors.AudioError.")
def _no_keyword_refused(subject: Subject, torch) -> None:
    segment = subject.build()
    short = 0.1 * torch.randn(segment.num_samples - 1)
    for what, wav in (("silence", torch.zeros(_NUM_SAMPLES)), ("a recording shorter than the segment", short)):
        try:
            start = segment(wav)
        except AudioError:
            continue
        raise Broken(f"{start!r} for {what}")


register_kind(
    "segment",
    Contract(
        "build(name, sample_rate=16000, seconds=0.8)(wav, end): wav (samples,) float32, and the keyword's last sample "
        "or None -> the first sample of the segment of num_samples that contains the keyword",
        modules=("speechtools.keyword.segments",),
        slot=Slot("keyword/GE2E", "multireader.yaml", "segment_name"),
        laws=(_start_lies_within, _keyword_inside, _end_respected, _no_keyword_refused),
    ),
)
