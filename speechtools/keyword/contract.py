"""The contracts of the kinds ``segment``, ``tokens`` and ``detector``."""

from speechtools.core.contract import Broken, Contract, Slot, Subject, law, register_kind
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.laws import (
    ITEM_FRAMES,
    NUM_FRAMES,
    must_agree,
    must_be,
    must_be_finite,
    must_have_gradients,
    padded_feats,
    tensor_law,
)

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


# ---- tokens

_TEXTS = ("ok google", "hey computer", "what's the time")


def _trained_tokens():
    from speechtools.keyword.tokens import train_tokens

    return train_tokens(_TEXTS)


@law("texts become tokens from 1 to their number, and become texts again", "Keep 0 for the blank.")
def _tokens_invertible(subject: Subject) -> None:
    tokens = subject.build(offered={"model": _trained_tokens().model})
    for text in _TEXTS:
        numbers = tokens.encode(text)
        if not numbers or not all(isinstance(k, int) and 0 < k < len(tokens) for k in numbers):
            raise Broken(f"{numbers!r} of {len(tokens)} tokens for {text!r}")
        if tokens.decode(numbers) != text:
            raise Broken(f"{tokens.decode(numbers)!r} for the tokens of {text!r}")


@law("characters that no token has raise a ConfigError", "Raise ConfigError with the character and what to write.")
def _unknown_characters_refused(subject: Subject) -> None:
    tokens = subject.build(offered={"model": _trained_tokens().model})
    try:
        numbers = tokens.encode("\u6f22")
    except ConfigError:
        return
    raise Broken(f"{numbers!r}")


register_kind(
    "tokens",
    Contract(
        "build(name), with model=… if there is such a parameter: encode(text) -> list of int from 1, decode(tokens) -> "
        "text, len() the number of tokens with the blank, 0",
        modules=("speechtools.keyword.tokens",),
        laws=(_tokens_invertible, _unknown_characters_refused),
    ),
)

# ---- detector

_SIZE, _TOKENS = 40, 29


def _detector(subject: Subject):
    return subject.module(input_size=_SIZE, num_tokens=_TOKENS)


@tensor_law(
    "feats (batch, time, input_size) give float32 log probabilities (batch, num_steps(time), num_tokens)",
    "Return the logarithms of a softmax over the tokens.",
)
def _log_probs_valid(subject: Subject, torch) -> None:
    net = _detector(subject)
    for batch, time in ((3, NUM_FRAMES), (1, NUM_FRAMES - 1)):
        log_probs = net(torch.randn(batch, time, _SIZE))
        must_be(log_probs, (batch, net.num_steps(time), _TOKENS), f"feats {(batch, time, _SIZE)}")
        must_be_finite(log_probs, "random feats")
        must_agree(log_probs.exp().sum(dim=2), torch.ones(log_probs.shape[:2]), "the sums of probabilities and 1")


@tensor_law("padding changes no step of an item's own frames", "Let no step depend on later frames.")
def _padding_after(subject: Subject, torch) -> None:
    net, (feats, lens) = _detector(subject), padded_feats(_SIZE, "randn")
    together = net(feats, lens)
    for row, frames in enumerate(ITEM_FRAMES):
        steps = net.num_steps(frames)
        alone = net(feats[row : row + 1, :frames])
        must_agree(together[row : row + 1, :steps], alone, f"the steps of {frames} frames, alone and padded,")


@tensor_law(
    "a stream in blocks gives the steps of the whole", "Keep in the state whatever later steps need of earlier frames."
)
def _stream_equals_whole(subject: Subject, torch) -> None:
    net, feats = _detector(subject), torch.randn(1, NUM_FRAMES, _SIZE)
    whole = net(feats)
    for sizes in ((1,) * NUM_FRAMES, (7, 50, 3), (NUM_FRAMES,)):
        state, parts = net.start(), []
        for block in feats.split(sizes, dim=1):
            log_probs, state = net.stream(block, state)
            parts.append(log_probs)
        must_agree(torch.cat(parts, dim=1), whole, f"blocks of {sizes[0]} frames and the whole")


@tensor_law(
    "a gradient reaches every parameter and the input",
    "Remove unused layers, and detach() or no_grad() on the way to the output.",
    grad=True,
)
def _gradients_everywhere(subject: Subject, torch) -> None:
    net, feats = _detector(subject).train(), torch.randn(2, NUM_FRAMES, _SIZE, requires_grad=True)
    output = net(feats)
    (output * torch.randn_like(output)).sum().backward()
    must_have_gradients([*net.named_parameters(), ("the input feats", feats)])


register_kind(
    "detector",
    Contract(
        "build(name, input_size=40, num_tokens=29)(feats, lens): feats (batch, time, input_size) float32 -> log "
        "probabilities of tokens (batch, steps, num_tokens), 0 the blank; stream(feats, state) -> the same and the "
        "next state, from start(batch); num_steps(frames), and the attribute stride, frames in a step",
        modules=("speechtools.keyword.detectors",),
        slot=Slot("keyword/detection", "ctc.yaml", "detector_name"),
        laws=(_log_probs_valid, _padding_after, _stream_equals_whole, _gradients_everywhere),
    ),
)
