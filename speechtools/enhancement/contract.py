"""The contract of the kind ``enhancer``."""

from speechtools.core.contract import Broken, Contract, Slot, Subject, register_kind
from speechtools.core.laws import (
    NUM_FRAMES,
    must_agree,
    must_be,
    must_be_finite,
    padded_feats,
    sequence_laws,
    tensor_law,
)

_NUM_BINS = 257
_LENS_DEFAULT, _PADDING_IGNORED, _GRADIENTS_REACH = sequence_laws(_NUM_BINS, "rand", "masks")


@tensor_law(
    "feats (batch, time, input_size) give float32 masks of the same shape, in [0, 1]",
    "End in a sigmoid, one value per frequency bin.",
)
def _masks_have_shape(subject: Subject, torch) -> None:
    enhancer = subject.module(input_size=_NUM_BINS)
    for batch, time in ((4, NUM_FRAMES), (1, 1)):
        shape = (batch, time, _NUM_BINS)
        masks = enhancer(torch.rand(shape), None)
        must_be(masks, shape, f"masks for feats {shape}")
        if not (masks >= 0).all() or not (masks <= 1).all():
            raise Broken(f"masks from {masks.min().item():.3g} to {masks.max().item():.3g}")


@tensor_law("masks are finite for silence", "Look for a division by the features' own size, or its logarithm.")
def _masks_finite(subject: Subject, torch) -> None:
    silence = torch.zeros(2, NUM_FRAMES, _NUM_BINS)
    must_be_finite(subject.module(input_size=_NUM_BINS)(silence, None), "silence")


@tensor_law("the level of a recording changes no mask", "Divide the features by their own level in the item.")
def _level_ignored(subject: Subject, torch) -> None:
    enhancer = subject.module(input_size=_NUM_BINS)
    feats, lens = padded_feats(_NUM_BINS, "rand")
    quiet = enhancer(0.01 * feats, lens)
    must_agree(quiet, enhancer(feats, lens), "masks of spectra and of the same spectra 40 dB lower")


register_kind(
    "enhancer",
    Contract(
        "build(name, input_size=257)(feats, lens): magnitudes (batch, time, input_size) float32 of noisy speech and "
        "relative lens (batch,) or None -> masks of the same shape, in [0, 1], whatever the level of the recording",
        modules=("speechtools.enhancement.net",),
        slot=Slot("TIMIT/enhancement", "blstm.yaml", "enhancer_name"),
        laws=(_masks_have_shape, _masks_finite, _LENS_DEFAULT, _PADDING_IGNORED, _level_ignored, _GRADIENTS_REACH),
    ),
)
