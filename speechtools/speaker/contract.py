"""The contracts of the kinds ``encoder`` and ``speaker-loss``."""

from speechtools.core.contract import Broken, Contract, Slot, Subject, register_kind
from speechtools.core.laws import NUM_FRAMES, must_agree, must_be, must_have_gradients, sequence_laws, tensor_law

# ---- encoder

_NUM_MELS = 40


@tensor_law(
    "feats (batch, time, input_size) give float32 d-vectors (batch, embedding_size) of length 1",
    "End with torch.nn.functional.normalize, and add an attribute embedding_size.",
)
def _dvectors_are_unit(subject: Subject, torch) -> None:
    encoder = subject.module(input_size=_NUM_MELS)
    for batch, time in ((4, NUM_FRAMES), (1, 1)):
        dvectors = encoder(torch.randn(batch, time, _NUM_MELS))
        must_be(dvectors, (batch, encoder.embedding_size), f"d-vectors of feats {(batch, time, _NUM_MELS)}")
        must_agree(dvectors.norm(dim=1), torch.ones(batch), "the lengths of d-vectors and 1")


register_kind(
    "encoder",
    Contract(
        "build(name, input_size=40)(feats, lens): feats (batch, time, input_size) float32 and relative lens (batch,) "
        "or None -> d-vectors (batch, embedding_size) of length 1",
        modules=("speechtools.speaker.encoders",),
        slot=Slot("TI-SV/GE2E", "ge2e.yaml", "encoder_name"),
        laws=(_dvectors_are_unit, *sequence_laws(_NUM_MELS, "randn", "d-vectors")),
    ),
)


# ---- speaker-loss

_SPEAKERS, _UTTERANCES, _EMBEDDING = 5, 4, 16


def _loss(subject: Subject):
    import torch

    loss = subject.build()
    if hasattr(loss, "set_speakers"):
        loss.set_speakers(_SPEAKERS, _EMBEDDING)
        # A classifier that has learnt: speaker k lies along the axis k.
        for parameter in loss.parameters():
            if parameter.dim() == 2:
                parameter.data.copy_(torch.eye(_SPEAKERS, _EMBEDDING))
    return loss, torch.arange(_SPEAKERS)


def _clusters(torch, spread: float):
    """Unit d-vectors (speakers, utterances, emb) around one axis per speaker."""
    centres = torch.eye(_SPEAKERS, _EMBEDDING).unsqueeze(1)
    noisy = centres + spread * torch.randn(_SPEAKERS, _UTTERANCES, _EMBEDDING)
    return torch.nn.functional.normalize(noisy, dim=2)


@tensor_law("d-vectors and labels give a finite scalar", "Reduce over the batch, without a logarithm of 0.")
def _loss_is_scalar(subject: Subject, torch) -> None:
    loss, labels = _loss(subject)
    for spread in (0.0, 0.3, 100.0):
        value = loss(_clusters(torch, spread), labels)
        if not isinstance(value, torch.Tensor) or value.dim() != 0 or not value.isfinite():
            raise Broken(f"{value} for d-vectors around their speakers with a spread of {spread}")


@tensor_law("(speakers, utterances, emb) and (batch, emb) with labels give the same loss", "Group d-vectors by label.")
def _flat_equals_regular(subject: Subject, torch) -> None:
    loss, labels = _loss(subject)
    dvectors = _clusters(torch, 0.5)
    flat = loss(dvectors.flatten(0, 1), labels.repeat_interleave(_UTTERANCES))
    must_agree(flat, loss(dvectors, labels), "the loss of (batch, emb) with labels and of (speakers, …)")


@tensor_law(
    "speakers far apart have a lower loss than random d-vectors",
    "Look at the sign: equations 3 and 6 of the GE2E paper are printed as they are maximised.",
)
def _apart_is_better(subject: Subject, torch) -> None:
    loss, labels = _loss(subject)
    apart, mixed = loss(_clusters(torch, 0.05), labels), loss(_clusters(torch, 100.0), labels)
    if not apart < mixed:
        raise Broken(f"{apart.item():.4g} for speakers far apart, and {mixed.item():.4g} for random d-vectors")


@tensor_law("a finite gradient reaches the d-vectors and every parameter", "Look for a clamp or detach().", grad=True)
def _loss_gradients_reach(subject: Subject, torch) -> None:
    (loss, labels), dvectors = _loss(subject), _clusters(torch, 0.5).requires_grad_()
    loss(dvectors, labels).backward()
    must_have_gradients([*loss.named_parameters(), ("the d-vectors", dvectors)])


register_kind(
    "speaker-loss",
    Contract(
        "build(name)(dvectors, speakers): dvectors (speakers, utterances, emb) and one label per speaker, or "
        "(batch, emb) and one label each -> scalar; set_speakers(num_speakers, embedding_size) first, if it has that",
        modules=("speechtools.speaker.ge2e", "speechtools.speaker.te2e", "speechtools.speaker.softmax"),
        slot=Slot("TI-SV/GE2E", "ge2e.yaml", "loss_name"),
        laws=(_loss_is_scalar, _flat_equals_regular, _apart_is_better, _loss_gradients_reach),
    ),
)
