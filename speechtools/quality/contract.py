"""The contract of the kind ``quality``."""

from speechtools.core.contract import Broken, Contract, Slot, Subject, register_kind
from speechtools.core.laws import (
    ITEM_FRAMES,
    NUM_FRAMES,
    must_agree,
    must_be,
    must_be_finite,
    must_have_gradients,
    padded_feats,
    sequence_laws,
    tensor_law,
)

_NUM_BINS = 257
_LENS_DEFAULT, _PADDING_IGNORED, _ = sequence_laws(_NUM_BINS, "rand", "scores", "frame_scores")


def _assess(net, feats, lens=None):
    returned = net(feats, lens)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise Broken(f"forward returned a {type(returned).__name__} instead of (scores, frame_scores)")
    return returned


@tensor_law(
    "feats (batch, time, input_size) give float32 scores (batch,) and frame_scores (batch, time)",
    "Return the pair (scores, frame_scores), without a trailing dimension of 1.",
)
def _scores_have_shape(subject: Subject, torch) -> None:
    net = subject.module(input_size=_NUM_BINS)
    for batch, time in ((4, NUM_FRAMES), (1, 1)):
        scores, frame_scores = _assess(net, torch.rand(batch, time, _NUM_BINS))
        must_be(scores, (batch,), f"scores for feats {(batch, time, _NUM_BINS)}")
        must_be(frame_scores, (batch, time), f"frame_scores for feats {(batch, time, _NUM_BINS)}")


@tensor_law(
    "scores are finite for features that are all 0", "Look for a division by the features' own size, or its logarithm."
)
def _scores_finite(subject: Subject, torch) -> None:
    net = subject.module(input_size=_NUM_BINS)
    for values in _assess(net, torch.zeros(2, NUM_FRAMES, _NUM_BINS)):
        must_be_finite(values, "features that are all 0")


@tensor_law(
    "a score is the mean of the scores of its item's valid frames",
    "Divide the sum over the first round(lens * time) frames by their number.",
)
def _score_is_mean(subject: Subject, torch) -> None:
    feats, lens = padded_feats(_NUM_BINS, "rand")
    scores, frame_scores = _assess(subject.module(input_size=_NUM_BINS), feats, lens)
    for row, frames in enumerate(ITEM_FRAMES):
        what = f"the score of an item of {frames} of {NUM_FRAMES} frames and the mean of its frame scores"
        must_agree(scores[row], frame_scores[row, :frames].mean(), what)


@tensor_law("the order of the batch changes no score", "Use no statistics over the batch.")
def _order_ignored(subject: Subject, torch) -> None:
    net = subject.module(input_size=_NUM_BINS)
    feats, lens = padded_feats(_NUM_BINS, "rand")
    order = torch.tensor([2, 0, 3, 1])
    scores, _ = _assess(net, feats, lens)
    shuffled, _ = _assess(net, feats[order], lens[order])
    must_agree(shuffled, scores[order], "scores of a batch and of the same batch in another order")


@tensor_law(
    "a gradient reaches every parameter and the input",
    "Remove unused layers, and detach() or no_grad() on the way to the output.",
    grad=True,
)
def _gradients_reach(subject: Subject, torch) -> None:
    from speechtools.quality.outputs import all_outputs

    net, (feats, lens) = subject.module(input_size=_NUM_BINS).train(), padded_feats(_NUM_BINS, "rand")
    outputs = all_outputs(net, feats.requires_grad_(), lens)
    tensors = [outputs.scores, *([] if outputs.causes is None else [outputs.causes]), *outputs.measures.values()]
    sum((tensor * torch.randn_like(tensor)).sum() for tensor in tensors).backward()
    must_have_gradients([*net.named_parameters(), ("the input feats", feats)])


@tensor_law(
    "a network with causes returns, with details=True, the same scores and logits (batch, time, causes)",
    "Compute the further outputs beside the scores, and return QualityOutputs.",
)
def _details_agree(subject: Subject, torch) -> None:
    from speechtools.quality.outputs import all_outputs, gives_details

    net, (feats, lens) = subject.module(input_size=_NUM_BINS), padded_feats(_NUM_BINS, "rand")
    if not gives_details(net):
        return
    outputs = all_outputs(net, feats, lens)
    for value, plain in zip(outputs[:2], _assess(net, feats, lens), strict=True):
        must_agree(value, plain, "the scores with and without details")
    must_be(outputs.causes, (*feats.shape[:2], len(net.causes)), "the causes")


register_kind(
    "quality",
    Contract(
        "build(name, input_size=257)(feats, lens): feats (batch, time, input_size) float32 and relative lens (batch,) "
        "or None -> scores (batch,) and frame_scores (batch, time), a score being the mean of its valid frames; a "
        "network with an attribute causes also takes details=True",
        modules=tuple(f"speechtools.quality.{name}" for name in ("net", "autoencoder", "conv_blstm", "conv_lstm")),
        slot=Slot("TIMIT/quality", "qnet.yaml", "quality_name"),
        laws=(
            _scores_have_shape,
            _scores_finite,
            _score_is_mean,
            _LENS_DEFAULT,
            _PADDING_IGNORED,
            _order_ignored,
            _gradients_reach,
            _details_agree,
        ),
    ),
)
