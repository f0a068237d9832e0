"""The contracts of the kinds ``segment`` and ``reader``."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from speechtools.core.contract import Broken, Contract, Slot, Subject, register_kind, temporary_folder
from speechtools.core.errors import AudioError
from speechtools.core.laws import must_be, tensor_law

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


# ---- reader


@contextlib.contextmanager
def _sources() -> Iterator[list]:
    """A source of 6 speakers and one of 20, of random samples."""
    import numpy as np

    from speechtools.keyword.multireader import Source
    from speechtools.speaker.store import store_of

    rng, sources = np.random.default_rng(20), []
    with temporary_folder() as folder:
        for name, count, num_speakers in (("small", 6, 2), ("large", 20, 4)):
            samples = rng.integers(-3000, 3000, (count, 3, 1000), dtype=np.int16)
            store = store_of(folder / name, {f"s{speaker:02d}": list(wavs) for speaker, wavs in enumerate(samples)})
            sources.append(Source(name, store, num_speakers, 3, 1.0, min_samples=800, max_samples=800))
        yield sources


@tensor_law(
    "a step has names, weights and batches of speakers that occur once",
    "Return speechtools.keyword.multireader.SourceBatches; SpeakerBatches makes the batch of a store.",
)
def _step_has_shape(subject: Subject, torch) -> None:
    with _sources() as sources:
        step = subject.build(sources=sources)[3]
        if not len(step.names) == len(step.weights) == len(step.parts) > 0:
            raise Broken(f"{len(step.names)} names, {len(step.weights)} weights and {len(step.parts)} parts of a step")
        for name, batch in zip(step.names, step.parts, strict=True):
            speakers = batch.speakers.tolist()
            what = f"the batch of {name!r} with {len(speakers)} speakers of 3"
            must_be(batch.to("cpu").wavs, (3 * len(speakers), 800), what)
            if len(set(speakers)) < max(len(speakers), 2):
                raise Broken(f"the speakers {speakers} in the batch of {name!r}")


@tensor_law("a step depends only on the seed and its number", "Draw from np.random.default_rng([seed, step]).")
def _steps_repeat(subject: Subject, torch) -> None:
    with _sources() as sources:
        one, other = (subject.build(sources=sources, seed=7) for _ in range(2))
        for step in (5, 0, 5, 31):
            other[step + 1]
            for a, b in zip(one[step].parts, other[step].parts, strict=True):
                if not torch.equal(a.wavs, b.wavs) or not torch.equal(a.speakers, b.speakers):
                    raise Broken(f"another batch at step {step}, when it is read again or in another order")


@tensor_law("a source of weight 0 changes nothing", "Drop such sources before drawing.")
def _zero_weight_silences(subject: Subject, torch) -> None:
    with _sources() as sources:
        for remaining, silenced in (sources, sources[::-1]):
            weighted = [replace(source, weight=0.0) if source is silenced else source for source in sources]
            with_source, without = subject.build(sources=weighted), subject.build(sources=[remaining])
            for step in range(3):
                wavs, expected = ([batch.wavs for batch in reader[step].parts] for reader in (with_source, without))
                if len(wavs) != len(expected) or not all(map(torch.equal, wavs, expected)):
                    raise Broken(f"step {step} with a source of weight 0 differs from the one without it")


@tensor_law("processes draw different speakers", "Divide one order of the speakers among the ranks.")
def _ranks_divide(subject: Subject, torch) -> None:
    with _sources() as sources:
        ranks = [subject.build(sources=sources, rank=rank, world_size=2) for rank in range(2)]
        for step in range(3):
            for name, one, other in zip(ranks[0][step].names, *(rank[step].parts for rank in ranks), strict=True):
                if both := set(one.speakers.tolist()) & set(other.speakers.tolist()):
                    raise Broken(f"both processes have the speakers {sorted(both)} of {name!r} at step {step}")


register_kind(
    "reader",
    Contract(
        "build(name, sources, seed, rank, world_size)[step]: sources a sequence of Source -> SourceBatches: names, "
        "weights, and parts with wavs (speakers * utterances, samples) and speakers (speakers,)",
        modules=("speechtools.keyword.multireader",),
        slot=Slot("keyword/GE2E", "multireader.yaml", "reader_name"),
        laws=(_step_has_shape, _steps_repeat, _zero_weight_silences, _ranks_divide),
    ),
)
