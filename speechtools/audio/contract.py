"""The contracts of the kinds ``features`` and ``vad``."""

from speechtools.core.contract import Broken, Contract, Slot, Subject, register_kind
from speechtools.core.laws import must_agree, must_be, must_be_finite, tensor_law

_NUM_SAMPLES = 16000
# Not multiples of a usual hop, so that a wrong rounding of frames shows.
_ITEM_SAMPLES = (16000, 11203, 8191, 4097)


# ---- features


def _features(subject: Subject):
    import torch

    features = subject.build()
    return features.eval() if isinstance(features, torch.nn.Module) else features


def _padded_wavs(torch):
    wavs = torch.zeros(len(_ITEM_SAMPLES), _NUM_SAMPLES)
    for row, samples in enumerate(_ITEM_SAMPLES):
        wavs[row, :samples] = 0.1 * torch.randn(samples)
    return wavs, torch.tensor(_ITEM_SAMPLES, dtype=torch.float32) / _NUM_SAMPLES


@tensor_law(
    "wavs (batch, samples) give float32 frames (batch, time, size), of one size for any batch",
    "Return frames second and their features last, with defaults for all parameters.",
)
def _frames_have_shape(subject: Subject, torch) -> None:
    features = _features(subject)
    sizes = set()
    for batch, samples in ((3, _NUM_SAMPLES), (1, 9001)):
        feats = features(0.1 * torch.randn(batch, samples))
        what = f"{batch} waveforms of {samples} samples"
        if not isinstance(feats, torch.Tensor) or feats.dim() != 3:
            result = tuple(feats.shape) if isinstance(feats, torch.Tensor) else type(feats).__name__
            raise Broken(f"{what} gave {result} instead of a tensor (batch, time, size)")
        must_be(feats, (batch, max(feats.shape[1], 1), max(feats.shape[2], 1)), what)
        sizes.add(feats.shape[2])
    if len(sizes) > 1:
        raise Broken(f"sizes {sorted(sizes)}")


@tensor_law("features are finite, also for digital silence", "Add a small floor before a logarithm or a division.")
def _frames_finite(subject: Subject, torch) -> None:
    features = _features(subject)
    must_be_finite(features(torch.zeros(1, _NUM_SAMPLES)), "digital silence")
    must_be_finite(features(0.1 * torch.randn(1, _NUM_SAMPLES)), "noise")


@tensor_law(
    "a row's features do not depend on the other rows of the batch",
    "Take peaks, means and other statistics only over each row.",
)
def _rows_independent(subject: Subject, torch) -> None:
    features = _features(subject)
    # Rows of very different level, so that a normalisation over the batch shows.
    wavs = torch.randn(3, _NUM_SAMPLES) * torch.tensor([[0.5], [0.05], [0.005]])
    together = features(wavs)
    for row in range(len(wavs)):
        alone = features(wavs[row : row + 1])
        must_agree(together[row : row + 1], alone, f"row {row} in a batch and the same alone")


@tensor_law("lens=None means that every row is full", "Let forward(wavs, lens=None) treat None as lens of 1.")
def _lens_default(subject: Subject, torch) -> None:
    features = _features(subject)
    wavs = 0.1 * torch.randn(2, _NUM_SAMPLES)
    must_agree(features(wavs), features(wavs, torch.ones(2)), "features without lens and with lens of 1")


@tensor_law(
    "frame_lens(lens, num_samples) * time rounds to each item's own number of frames",
    "Count the frames of round(lens * num_samples) samples, and divide by those of num_samples.",
)
def _frame_lens_true(subject: Subject, torch) -> None:
    features = _features(subject)
    wavs, lens = _padded_wavs(torch)
    frame_lens = features.frame_lens(lens, _NUM_SAMPLES)
    must_be(frame_lens, (len(lens),), f"frame_lens of {len(lens)} items")
    longest = features(wavs, lens).shape[1]
    for row, samples in enumerate(_ITEM_SAMPLES):
        frames = features(wavs[row : row + 1, :samples]).shape[1]
        counted = round(frame_lens[row].item() * longest)
        if counted != frames:
            raise Broken(
                f"{samples} samples have {frames} frames, and padded to {_NUM_SAMPLES} samples ({longest} frames) "
                f"frame_lens counts {counted}"
            )


@tensor_law(
    "padding with zeros on the right changes none of an item's frames",
    "Frame each item as if it ended at its own length; reflecting or centring at the batch's end moves frames.",
)
def _frames_ignore_padding(subject: Subject, torch) -> None:
    features = _features(subject)
    wavs, lens = _padded_wavs(torch)
    padded = features(wavs, lens)
    for row, samples in enumerate(_ITEM_SAMPLES):
        alone = features(wavs[row : row + 1, :samples])[0]
        what = f"the frames of {samples} samples, alone and padded to {_NUM_SAMPLES},"
        must_agree(padded[row, : len(alone)], alone, what)


@tensor_law(
    "size, win_length, hop_length (in samples) and num_samples(frames) are those of the frames",
    "Add these attributes, and num_samples(frames) = win_length + (frames - 1) * hop_length.",
)
def _windows_counted(subject: Subject, torch) -> None:
    features = _features(subject)
    for frames in (1, 7, 40):
        samples = features.num_samples(frames)
        shape = features(torch.randn(1, samples)).shape[1:]
        expected = features.win_length + (frames - 1) * features.hop_length
        if samples != expected or shape != (frames, features.size):
            raise Broken(
                f"num_samples({frames}) is {samples} with win_length={features.win_length} and "
                f"hop_length={features.hop_length}, and a waveform of that length gives {tuple(shape)} frames and "
                f"values, with size={features.size}"
            )


register_kind(
    "features",
    Contract(
        "build(name)(wavs, lens): wavs (batch, samples) float32 and relative lens (batch,) or None -> features "
        "(batch, time, size) float32; frame_lens(lens, num_samples) -> relative lengths of the features (batch,)",
        modules=("speechtools.audio.features", "speechtools.audio.centred_mel", "speechtools.audio.running_mel"),
        slot=Slot("TI-SV/GE2E", "ge2e.yaml", "features_name"),
        laws=(
            _frames_have_shape,
            _frames_finite,
            _rows_independent,
            _lens_default,
            _frame_lens_true,
            _frames_ignore_padding,
            _windows_counted,
        ),
    ),
)


# ---- vad


def _bursts(torch):
    """A second of faint noise with half a second of loud noise in its middle; the second row has a DC offset."""
    wavs = 0.001 * torch.randn(2, _NUM_SAMPLES)
    wavs[:, 4000:12000] += 0.3 * torch.randn(2, 8000)
    wavs[1] += 0.2
    return wavs


@tensor_law(
    "wavs (batch, samples) give booleans (batch, ceil(samples / hop_length))",
    "Add an attribute hop_length, and decide on the last, shorter frame too.",
)
def _decisions_have_shape(subject: Subject, torch) -> None:
    vad = subject.build()
    for batch, samples in ((3, _NUM_SAMPLES), (1, 9001), (1, 7)):
        speech = vad(0.1 * torch.randn(batch, samples))
        shape = (batch, -(-samples // vad.hop_length))
        is_tensor = isinstance(speech, torch.Tensor)
        if not is_tensor or speech.dtype != torch.bool or tuple(speech.shape) != shape:
            result = (speech.dtype, tuple(speech.shape)) if is_tensor else type(speech).__name__
            raise Broken(f"{batch} waveforms of {samples} samples gave {result} instead of booleans {shape}")


@tensor_law("digital silence has no speech", "Treat a waveform of zeros first.")
def _silence_has_no_speech(subject: Subject, torch) -> None:
    if subject.build()(torch.zeros(1, _NUM_SAMPLES)).any():
        raise Broken("speech in digital silence")


@tensor_law(
    "there is speech in the bundled recording of a voice", "Compare thresholds with the level of the recording."
)
def _voice_has_speech(subject: Subject, torch) -> None:
    import speechtools
    from speechtools.audio.io import read

    wav = torch.from_numpy(read(speechtools.SAMPLE))
    for gain in (1.0, 0.01):
        share = subject.build()(gain * wav[None]).float().mean().item()
        if not 0.2 < share < 1:
            raise Broken(f"speech in {share:.0%} of the frames at a gain of {gain}")


@tensor_law(
    "padding changes no decision, and there is no speech beyond an item's length",
    "Take levels and percentiles over each item's own frames.",
)
def _decisions_ignore_padding(subject: Subject, torch) -> None:
    vad = subject.build()
    wavs = _bursts(torch)[:1]
    alone = vad(wavs)[0]
    padded = vad(torch.nn.functional.pad(wavs, (0, 8000)), torch.tensor([2 / 3]))[0]
    if padded[len(alone) :].any():
        raise Broken("speech beyond an item's length")
    if not torch.equal(padded[: len(alone)], alone):
        raise Broken("other frames for a waveform when it is padded")


register_kind(
    "vad",
    Contract(
        "build(name)(wavs, lens): wavs (batch, samples) float32 and relative lens (batch,) or None -> booleans "
        "(batch, time), one for each hop_length samples, true where there is speech",
        modules=("speechtools.audio.vad",),
        slot=Slot("TI-SV/GE2E", "ge2e.yaml", "vad_name"),
        laws=(_decisions_have_shape, _silence_has_no_speech, _voice_has_speech, _decisions_ignore_padding),
    ),
)
