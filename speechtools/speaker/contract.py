"""The contracts of the kinds ``encoder``, ``speaker-loss``, ``score-norm`` and ``reader``."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from speechtools.core.contract import Broken, Contract, Slot, Subject, register_kind, temporary_folder
from speechtools.core.laws import (
    NUM_FRAMES,
    must_agree,
    must_be,
    must_be_finite,
    must_have_gradients,
    sequence_laws,
    tensor_law,
)

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
        modules=("speechtools.speaker.encoders", "speechtools.speaker.attentive"),
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


# ---- score-norm

_COHORT = 8


def _score_norm(subject: Subject, torch):
    """A plugin with a random cohort, d-vectors of models and tests (batch, emb), and their cosines (batch,)."""
    norm = subject.module(size=_COHORT, embedding_size=_EMBEDDING)
    norm.set_cohort(torch.nn.functional.normalize(torch.randn(_COHORT, _EMBEDDING), dim=1))
    models, tests = torch.nn.functional.normalize(torch.randn(2, 5, _EMBEDDING), dim=2)
    return norm, models, tests, (models * tests).sum(dim=1)


@tensor_law(
    "scores (batch,) and the statistics of both sides give finite float32 scores (batch,), and it names their scale",
    "Add an attribute scale, and bound what you divide by from below.",
)
def _normalised_are_finite(subject: Subject, torch) -> None:
    norm, models, tests, scores = _score_norm(subject, torch)
    if not isinstance(norm.scale, str) or norm.scale in ("", "cosine"):
        raise Broken(f"scale={norm.scale!r}")
    same = models[:1].expand(_COHORT, -1)
    for cohort in (None, same):  # the second has no spread
        if cohort is not None:
            norm.set_cohort(cohort)
        normalised = norm(scores, norm.statistics(models), norm.statistics(tests))
        must_be(normalised, tuple(scores.shape), f"{len(scores)} scores")
        must_be_finite(normalised, "normalised scores")


@tensor_law("a score is normalised alone: other trials change nothing", "Do not use statistics of the batch.")
def _trials_are_independent(subject: Subject, torch) -> None:
    norm, models, tests, scores = _score_norm(subject, torch)
    together = norm(scores, norm.statistics(models), norm.statistics(tests))
    alone = [
        norm(scores[i : i + 1], norm.statistics(models[i : i + 1]), norm.statistics(tests[i : i + 1]))
        for i in range(len(scores))
    ]
    must_agree(together, torch.cat(alone), "the scores of trials together and alone")


@tensor_law("it is a linear, rising function of the score", "Shift by means, and divide by positive numbers alone.")
def _scores_stay_in_order(subject: Subject, torch) -> None:
    norm, models, tests, scores = _score_norm(subject, torch)
    sides = norm.statistics(models), norm.statistics(tests)
    low, middle, high = (norm(scores + step, *sides) for step in (0.0, 0.1, 0.2))
    if not (middle > low).all():
        raise Broken("a score that is higher by 0.1 is not higher afterwards")
    must_agree(middle - low, high - middle, "what 0.1 and the next 0.1 add to a score")


@tensor_law("its state has the cohort", "Register what set_cohort computes as a buffer.")
def _cohort_is_saved(subject: Subject, torch) -> None:
    norm, models, tests, scores = _score_norm(subject, torch)
    other = subject.module(size=_COHORT, embedding_size=_EMBEDDING)
    other.load_state_dict(norm.state_dict())
    expected, loaded = (n(scores, n.statistics(models), n.statistics(tests)) for n in (norm, other))
    must_agree(loaded, expected, "the scores of a plugin and of another one with its state")


register_kind(
    "score-norm",
    Contract(
        "build(name, size, embedding_size): set_cohort(dvectors (size, embedding_size)); statistics(dvectors (batch, "
        "embedding_size)) -> (batch, …); (scores (batch,), statistics of the models, of the tests) -> scores (batch,); "
        "scale: the name of their scale",
        modules=("speechtools.speaker.normalization",),
        slot=Slot("TI-SV/GE2E", "ge2e.yaml", "score_norm"),
        laws=(_normalised_are_finite, _trials_are_independent, _scores_stay_in_order, _cohort_is_saved),
    ),
)


# ---- reader


@contextlib.contextmanager
def _sources() -> Iterator[list]:
    """A source of 6 speakers and one of 20, of random samples."""
    import numpy as np

    from speechtools.speaker.multireader import Source
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
    "Return speechtools.speaker.multireader.SourceBatches; SpeakerBatches makes the batch of a store.",
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


@tensor_law(
    "its attribute sources has the sources of its steps, by name, in whose stores the speakers are numbered",
    "Keep the sources that are read; one of several joined ones has a store with the speakers of all.",
)
def _has_its_sources(subject: Subject, torch) -> None:
    with _sources() as sources:
        reader = subject.build(sources=sources)
        if not hasattr(reader, "sources"):
            raise Broken("it has no attribute sources")
        counts = {source.name: len(source.store.speakers) for source in reader.sources}
        for step in range(4):
            for name, batch in zip(reader[step].names, reader[step].parts, strict=True):
                if name not in counts:
                    raise Broken(f"the name {name!r} of step {step}; its sources are {', '.join(counts)}")
                if int(batch.speakers.max()) >= counts[name]:
                    raise Broken(f"the speaker {int(batch.speakers.max())} of {name!r}, which has {counts[name]}")


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
        "weights, and parts with wavs (speakers * utterances, samples) and speakers (speakers,), their numbers in the "
        "store of the source of that name in the attribute sources",
        modules=("speechtools.speaker.multireader",),
        slot=Slot("keyword/GE2E", "multireader.yaml", "reader_name"),
        laws=(_step_has_shape, _has_its_sources, _steps_repeat, _zero_weight_silences, _ranks_divide),
    ),
)
