"""What every plugin of a kind takes and returns: one sentence with shapes, and laws that any part can be put to.

``check`` runs the laws of a part's kind on it, whether it comes from this package, a recipe or a third party; so do
``speechtools check kind/name`` and the tests, over every registered part. A new kind is one more entry of
``CONTRACTS``.
"""

import contextlib
import functools
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechtools.core.errors import AudioError, PluginError, SpeechtoolsError
from speechtools.core.registry import build, find, place
from speechtools.corpora.utterance import Utterance

#: Largest difference that counts as none, for float32 results of the order of 1; larger ones are compared relatively.
TOLERANCE = 1e-5
#: Audio files whose duration is compared with what the corpus reader says of them.
MAX_AUDIO_CHECKED = 50

_SEED = 20
_NUM_BINS = 257
_SPLITS = ("train", "valid", "test", "")


class Broken(Exception):
    """What was seen that the law forbids; ``check`` turns it into a PluginError."""


@dataclass(frozen=True)
class Subject:
    """The part under examination: its name, and the folder of a corpus, where one was given or made."""

    name: str
    data_folder: Path | None = None

    @functools.cached_property
    def utterances(self) -> list[Utterance]:
        """What the corpus reads from the folder: once, since a large corpus takes a while."""
        return _read(self.name, self.data_folder)


@dataclass(frozen=True, slots=True)
class Law:
    """One promise of a kind. ``test`` raises Broken with what was seen; ``remedy`` says what to do about it."""

    sentence: str
    test: Callable[[Subject], None]
    remedy: str
    applies: Callable[[Subject], bool] = lambda subject: True


@dataclass(frozen=True, slots=True)
class Contract:
    """One sentence with shapes, and the laws."""

    sentence: str
    laws: tuple[Law, ...]


def contract(kind: str) -> Contract:
    """The contract of a kind.

    Raises
    ------
    PluginError
        The kind has none.

    Example
    -------
    >>> contract("quality").sentence.split(":")[0]
    'build(name, input_size=257)(feats, lens)'
    """
    if kind not in CONTRACTS:
        raise PluginError(
            f"The kind {kind!r} has no contract, so its parts cannot be checked; contracts exist for "
            f"{', '.join(sorted(CONTRACTS))}. Add an entry to speechtools.core.contract.CONTRACTS."
        )
    return CONTRACTS[kind]


def check(name: str, data_folder: str | Path | None = None, report: Callable[[str], None] | None = None) -> list[str]:
    """Run the laws of its kind on the part ``kind/name``, and return those that were tested and hold.

    Parameters
    ----------
    name : str
        ``kind/name`` of a registered part.
    data_folder : str or Path, optional
        For the kind ``corpus``: a folder of that corpus to read. Without it, only what needs no recordings is tested.
    report : callable, optional
        Called with each law as soon as it has passed.

    Raises
    ------
    PluginError
        No such part, no contract for its kind, or a broken law: the message names the part, the law, what was seen and
        what to do.

    Example
    -------
    >>> check("features/magnitude")[0]
    'wavs (batch, samples) give float32 frames (batch, time, size), of one size for any batch'
    """
    part = find(name)
    kind = name.split("/")[0]
    laws = contract(kind).laws
    if data_folder is not None and kind != "corpus":
        raise PluginError(
            f"{name} was given data_folder={str(data_folder)!r}, but only a corpus reads a folder. Leave it out."
        )
    subject = Subject(name, None if data_folder is None else Path(data_folder))
    passed = []
    with contextlib.ExitStack() as stack:
        if kind == "corpus" and data_folder is None and _makes_its_own_data(name):
            subject = Subject(name, stack.enter_context(_temporary_folder()))
        for law in laws:
            if not law.applies(subject):
                continue
            try:
                law.test(subject)
            except Exception as error:  # a part that stumbles breaks the law as well; the cause stays attached
                if kind == "corpus" and isinstance(error, SpeechtoolsError) and not isinstance(error, PluginError):
                    # The reader refuses the folder, as it should: the fault need not be its own.
                    raise PluginError(f"{name} could not be checked: {error}") from error
                seen = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
                remedy = law.remedy if isinstance(error, Broken) else "It raised that itself. Mend that first."
                raise PluginError(
                    f"{name} ({place(part)}) breaks a law of the kind {kind!r}: {law.sentence}. "
                    f"Seen: {seen.rstrip('.')}. {remedy}"
                ) from error
            passed.append(law.sentence)
            if report is not None:
                report(law.sentence)
    return passed


# ---------------------------------------------------------------------------------------------------------- corpus


def needs_data_folder(name: str) -> bool:
    """Whether ``check`` can test this part fully only with a ``data_folder``: a corpus that does not make its own."""
    return name.split("/")[0] == "corpus" and not _makes_its_own_data(name)


def _first_parameter(name: str) -> inspect.Parameter | None:
    return next(iter(inspect.signature(find(name)).parameters.values()), None)


def _makes_its_own_data(name: str) -> bool:
    first = _first_parameter(name)
    return first is not None and first.name == "data_folder" and first.default is not first.empty


def _read(name: str, data_folder: Path | None) -> list[Utterance]:
    sizes: dict[str, Any] = {}
    if _makes_its_own_data(name):
        # A few speakers are enough to examine a corpus that would otherwise be made in full.
        sizes = {
            key: 4 if "train" in key else 2
            for key in inspect.signature(find(name)).parameters
            if re.fullmatch(r"num_(\w+_)?speakers", key)
        }
    return list(build(name, data_folder=data_folder, **sizes))


def _needs_folder(subject: Subject) -> bool:
    return not _makes_its_own_data(subject.name)


def _has_folder(subject: Subject) -> bool:
    return subject.data_folder is not None


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="speechtools-check-") as folder:
        yield Path(folder).resolve()


def _data_folder_first(subject: Subject) -> None:
    first = _first_parameter(subject.name)
    if first is None or first.name != "data_folder":
        raise Broken(f"the first parameter is {'none' if first is None else repr(first.name)}")


def _refuses(subject: Subject, folder: Path, what: str) -> None:
    try:
        utterances = _read(subject.name, folder)
    except SpeechtoolsError as error:
        if str(folder) not in str(error):
            raise Broken(f"for the {what} folder {folder}, a message that does not name it: {error}") from error
        return
    except Exception as error:
        raise Broken(f"for the {what} folder {folder}, {type(error).__name__}: {error}") from error
    raise Broken(f"for the {what} folder {folder}, {len(utterances)} utterances and no error")


def _refuses_missing(subject: Subject) -> None:
    with _temporary_folder() as folder:
        _refuses(subject, folder / "missing", "missing")


def _refuses_empty(subject: Subject) -> None:
    with _temporary_folder() as folder:
        _refuses(subject, folder, "empty")


def _well_formed(subject: Subject) -> None:
    if not subject.utterances:
        raise Broken(f"no utterance in {subject.data_folder}")
    seen_ids = set()
    for number, utterance in enumerate(subject.utterances):
        if not isinstance(utterance, Utterance):
            raise Broken(f"item {number} is a {type(utterance).__name__}")
        where = f"utterance {number}, {utterance.utt_id!r},"
        for field in ("utt_id", "speaker"):
            value = getattr(utterance, field)
            if not isinstance(value, str) or not value.strip():
                raise Broken(f"{where} has {field}={value!r}")
        if utterance.utt_id in seen_ids:
            raise Broken(f"the utt_id {utterance.utt_id!r} comes twice, the second time as utterance {number}")
        seen_ids.add(utterance.utt_id)
        if utterance.split not in _SPLITS:
            raise Broken(f"{where} has split={utterance.split!r}")
        if utterance.text is not None and not isinstance(utterance.text, str):
            raise Broken(f"{where} has text={utterance.text!r}")


def _durations_true(subject: Subject) -> None:
    import soundfile

    for number, utterance in enumerate(subject.utterances):
        where = f"utterance {utterance.utt_id!r}"
        if not Path(utterance.path).is_file():
            raise Broken(f"{where} has path={str(utterance.path)!r}, which does not exist")
        if not utterance.duration > 0:
            raise Broken(f"{where} has duration={utterance.duration!r}")
        if number < MAX_AUDIO_CHECKED:
            info = soundfile.info(str(utterance.path))
            true = info.frames / info.samplerate
            if abs(utterance.duration - true) > 0.01 * true:
                raise Broken(f"{where} has duration={utterance.duration:g} s, and its audio lasts {true:g} s")


_CORPUS = Contract(
    sentence="build(name, data_folder=…): the utterances of a folder, each with utt_id, speaker, split, path, "
    "duration (s) and text or None (speechtools.corpora.utterance.Utterance)",
    laws=(
        Law(
            "the first parameter is data_folder, the folder that holds the corpus",
            _data_folder_first,
            "Put data_folder first; give it a default only where the corpus makes its own recordings.",
        ),
        Law(
            "a data_folder that does not exist ends in a SpeechtoolsError that names it",
            _refuses_missing,
            "Raise a CorpusError that says which folder was looked for, and what it should hold.",
            applies=_needs_folder,
        ),
        Law(
            "an empty data_folder ends in a SpeechtoolsError that names it",
            _refuses_empty,
            "Raise a CorpusError that says which folder held no utterance, and what it should hold.",
            applies=_needs_folder,
        ),
        Law(
            "there are utterances, with unique non-empty utt_id, a speaker, and a split that is 'train', 'valid', "
            "'test' or ''",
            _well_formed,
            "Mend the reader, or the folder if its recordings are not of this corpus.",
            applies=_has_folder,
        ),
        Law(
            f"every path exists, and every duration is above 0 and, in the first {MAX_AUDIO_CHECKED}, within 1 % of "
            "the audio's",
            _durations_true,
            "Take the duration from soundfile.info: frames / samplerate, in seconds.",
            applies=_has_folder,
        ),
    ),
)


# ------------------------------------------------------------------------------------ kinds whose parts are tensors


@contextlib.contextmanager
def _examination() -> Iterator:
    # The caller's random state is left alone, and a verdict is the same every time. One thread: the batches are tiny,
    # and on a busy machine threads that wait for each other take many times as long.
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        torch.set_num_threads(1)
        try:
            yield torch
        finally:
            torch.set_num_threads(threads)


def _must_agree(one, other, what: str) -> None:
    if one.shape != other.shape:
        raise Broken(f"{what} have the shapes {tuple(one.shape)} and {tuple(other.shape)}")
    scale = other.abs().max().clamp(min=1.0)
    difference = ((one - other).abs().max() / scale).item()
    if not difference <= TOLERANCE:  # a NaN is a difference too
        raise Broken(f"{what} differ by {difference:.2g}, where at most {TOLERANCE:g} is allowed")


def _must_be(tensor, shape: tuple, what: str) -> None:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise Broken(f"{what}: a {type(tensor).__name__} instead of a tensor")
    if tensor.dtype != torch.float32 or tuple(tensor.shape) != shape:
        raise Broken(f"{what}: {tensor.dtype} of shape {tuple(tensor.shape)} instead of torch.float32 of shape {shape}")


def _must_have_gradients(named) -> None:
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None or not parameter.grad.any():
            raise Broken(f"no gradient in {name}")
        if not parameter.grad.isfinite().all():
            raise Broken(f"a gradient in {name} that is not finite")


# -------------------------------------------------------------------------------------------------------- features

_NUM_SAMPLES = 16000
# Not multiples of any usual hop, so that a wrong rounding of frames shows.
_ITEM_SAMPLES = (16000, 11203, 8191, 4097)


def _features(subject: Subject):
    import torch

    part = build(subject.name)
    return part.eval() if isinstance(part, torch.nn.Module) else part


def _item_lens(torch):
    return torch.tensor(_ITEM_SAMPLES, dtype=torch.float32) / _NUM_SAMPLES


def _padded_wavs(torch):
    wavs = torch.zeros(len(_ITEM_SAMPLES), _NUM_SAMPLES)
    for row, samples in enumerate(_ITEM_SAMPLES):
        wavs[row, :samples] = 0.1 * torch.randn(samples)
    return wavs


def _frames_have_shape(subject: Subject) -> None:
    with _examination() as torch:
        part = _features(subject)
        sizes = set()
        for batch, samples in ((3, _NUM_SAMPLES), (1, 9001)):
            feats = part(0.1 * torch.randn(batch, samples))
            shown = f"{batch} waveforms of {samples} samples"
            if not isinstance(feats, torch.Tensor) or feats.dim() != 3:
                kind = tuple(feats.shape) if isinstance(feats, torch.Tensor) else type(feats).__name__
                raise Broken(f"{shown} gave {kind} instead of a tensor (batch, time, size)")
            _must_be(feats, (batch, max(feats.shape[1], 1), max(feats.shape[2], 1)), shown)
            sizes.add(feats.shape[2])
        if len(sizes) > 1:
            raise Broken(f"sizes {sorted(sizes)}")


def _frames_finite(subject: Subject) -> None:
    with _examination() as torch:
        part = _features(subject)
        wavs = torch.stack([torch.zeros(_NUM_SAMPLES), 0.1 * torch.randn(_NUM_SAMPLES)])
        for row, what in enumerate(("digital silence", "noise")):
            feats = part(wavs[row : row + 1])
            if not feats.isfinite().all():
                raise Broken(f"{(~feats.isfinite()).sum().item()} of {feats.numel()} values for {what} are not finite")


def _rows_independent(subject: Subject) -> None:
    with _examination() as torch:
        part = _features(subject)
        # Rows of very different level: a normalisation over the batch instead of the row shows.
        wavs = torch.randn(3, _NUM_SAMPLES) * torch.tensor([[0.5], [0.05], [0.005]])
        together = part(wavs)
        for row in range(len(wavs)):
            _must_agree(together[row : row + 1], part(wavs[row : row + 1]), f"row {row} in a batch and the same alone")


def _frame_lens_true(subject: Subject) -> None:
    with _examination() as torch:
        part = _features(subject)
        wavs, lens = _padded_wavs(torch), _item_lens(torch)
        frame_lens = part.frame_lens(lens, _NUM_SAMPLES)
        _must_be(frame_lens, (len(lens),), f"frame_lens of {len(lens)} items")
        longest = part(wavs, lens).shape[1]
        for row, samples in enumerate(_ITEM_SAMPLES):
            own = part(wavs[row : row + 1, :samples]).shape[1]
            said = round(frame_lens[row].item() * longest)
            if said != own:
                raise Broken(
                    f"{samples} samples have {own} frames, and padded to {_NUM_SAMPLES} samples ({longest} frames) "
                    f"frame_lens says {said}"
                )


def _frames_ignore_padding(subject: Subject) -> None:
    with _examination() as torch:
        part = _features(subject)
        wavs, lens = _padded_wavs(torch), _item_lens(torch)
        padded = part(wavs, lens)
        for row, samples in enumerate(_ITEM_SAMPLES):
            alone = part(wavs[row : row + 1, :samples])[0]
            what = f"the frames of {samples} samples, alone and padded to {_NUM_SAMPLES},"
            _must_agree(padded[row, : len(alone)], alone, what)


def _windows_counted(subject: Subject) -> None:
    with _examination() as torch:
        part = _features(subject)
        for frames in (1, 7, 40):
            samples = part.num_samples(frames)
            feats = part(torch.randn(1, samples))
            if samples != part.win_length + (frames - 1) * part.hop_length or feats.shape[1:] != (frames, part.size):
                raise Broken(
                    f"num_samples({frames}) is {samples} with win_length={part.win_length} and "
                    f"hop_length={part.hop_length}, and so many samples give {tuple(feats.shape[1:])} frames and "
                    f"values, with size={part.size}"
                )


def _features_default_lens(subject: Subject) -> None:
    with _examination() as torch:
        part = _features(subject)
        wavs = 0.1 * torch.randn(2, _NUM_SAMPLES)
        _must_agree(part(wavs), part(wavs, torch.ones(2)), "features without lens and with lens of 1")


_FEATURES = Contract(
    sentence="build(name)(wavs, lens): wavs (batch, samples) float32 and relative lens (batch,) or None -> "
    "features (batch, time, size) float32; frame_lens(lens, num_samples) -> relative lengths of the features (batch,)",
    laws=(
        Law(
            "wavs (batch, samples) give float32 frames (batch, time, size), of one size for any batch",
            _frames_have_shape,
            "Return frames second and their features last, with defaults for all arguments.",
        ),
        Law(
            "features are finite, for digital silence too",
            _frames_finite,
            "Add a small floor before a logarithm or a division.",
        ),
        Law(
            "a row's features do not depend on the other rows of the batch",
            _rows_independent,
            "Take peaks, means and other statistics over each row alone.",
        ),
        Law(
            "lens=None means that every row is full",
            _features_default_lens,
            "Let forward(wavs, lens=None) treat None as lens of 1.",
        ),
        Law(
            "frame_lens(lens, num_samples) * time rounds to each item's own number of frames",
            _frame_lens_true,
            "Count the frames of round(lens * num_samples) samples, and divide by those of num_samples.",
        ),
        Law(
            "padding with zeros on the right changes none of an item's frames",
            _frames_ignore_padding,
            "Frame each item as if it ended at its own length; reflecting or centring at the batch's end moves frames.",
        ),
        Law(
            "size, win_length, hop_length (in samples) and num_samples(frames) are those of the frames",
            _windows_counted,
            "Give the part these attributes, and num_samples(frames) = win_length + (frames - 1) * hop_length.",
        ),
    ),
)


# --------------------------------------------------------------------------------------------------------- quality

_NUM_FRAMES = 60
_ITEM_FRAMES = (60, 41, 23, 7)


def _quality(subject: Subject):
    import torch

    part = build(subject.name, input_size=_NUM_BINS)
    if not isinstance(part, torch.nn.Module):
        raise Broken(f"build gave a {type(part).__name__} instead of a torch.nn.Module")
    return part.eval()


def _padded_feats(torch):
    feats = torch.rand(len(_ITEM_FRAMES), _NUM_FRAMES, _NUM_BINS)
    lens = torch.tensor(_ITEM_FRAMES, dtype=torch.float32) / _NUM_FRAMES
    return feats, lens


def _fill_padding(feats, draw) -> None:
    """Loud noise behind every item."""
    for row, frames in enumerate(_ITEM_FRAMES):
        feats[row, frames:] = 100 * draw(feats[row, frames:].shape)


def _must_ignore_padding(part, feats, lens, draw, name: str) -> None:
    """What the part gives for an item is the same alone and in the batch, whose padding ``draw`` makes."""
    _fill_padding(feats, draw)
    together = part(feats, lens)
    for row, frames in enumerate(_ITEM_FRAMES):
        alone = part(feats[row : row + 1, :frames], None)
        what = f"the {name} of {frames} frames, alone and padded with noise to {_NUM_FRAMES},"
        # (1, frames, …); of outputs without time, (1, size) as they are
        _must_agree(together[row : row + 1, : alone.shape[1]], alone, what)


def _assess(part, feats, lens=None):
    outcome = part(feats, lens)
    if not isinstance(outcome, tuple) or len(outcome) != 2:
        raise Broken(f"forward returned a {type(outcome).__name__} instead of the pair (scores, frame_scores)")
    return outcome


def _scores_have_shape(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _quality(subject)
        for batch, time in ((4, _NUM_FRAMES), (1, 1)):
            scores, frame_scores = _assess(part, torch.rand(batch, time, _NUM_BINS))
            shown = f"feats {(batch, time, _NUM_BINS)}"
            _must_be(scores, (batch,), f"scores for {shown}")
            _must_be(frame_scores, (batch, time), f"frame_scores for {shown}")


def _scores_finite(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        scores, frame_scores = _assess(_quality(subject), torch.zeros(2, _NUM_FRAMES, _NUM_BINS))
        if not (scores.isfinite().all() and frame_scores.isfinite().all()):
            raise Broken(f"scores {scores.tolist()} for features that are all 0")


def _score_is_mean(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        feats, lens = _padded_feats(torch)
        scores, frame_scores = _assess(_quality(subject), feats, lens)
        for row, frames in enumerate(_ITEM_FRAMES):
            mean = frame_scores[row, :frames].mean()
            what = f"the score of an item of {frames} of {_NUM_FRAMES} frames and the mean of its frame scores"
            _must_agree(scores[row], mean, what)


def _scores_default_lens(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _quality(subject)
        feats, _ = _padded_feats(torch)
        scores, frame_scores = _assess(part, feats)
        scores_of_ones, frame_scores_of_ones = _assess(part, feats, torch.ones(len(feats)))
        _must_agree(scores, scores_of_ones, "scores without lens and with lens of 1")
        _must_agree(frame_scores, frame_scores_of_ones, "frame scores without lens and with lens of 1")


def _scores_ignore_padding(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _quality(subject)
        feats, lens = _padded_feats(torch)
        _fill_padding(feats, torch.randn)
        scores, frame_scores = _assess(part, feats, lens)
        for row, frames in enumerate(_ITEM_FRAMES):
            alone, frames_alone = _assess(part, feats[row : row + 1, :frames])
            what = f"of {frames} frames, alone and padded with noise to {_NUM_FRAMES},"
            _must_agree(scores[row : row + 1], alone, f"scores {what}")
            _must_agree(frame_scores[row : row + 1, :frames], frames_alone, f"frame scores {what}")


def _order_is_nothing(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _quality(subject)
        feats, lens = _padded_feats(torch)
        order = torch.tensor([2, 0, 3, 1])
        scores, _ = _assess(part, feats, lens)
        shuffled, _ = _assess(part, feats[order], lens[order])
        _must_agree(shuffled, scores[order], "scores of a batch and of the same batch in another order")


def _gradients_arrive(subject: Subject) -> None:
    with _examination() as torch:
        part = _quality(subject).train()
        feats, lens = _padded_feats(torch)
        feats.requires_grad_()
        scores, _ = _assess(part, feats, lens)
        scores.sum().backward()
        _must_have_gradients([*part.named_parameters(), ("the input feats", feats)])


_QUALITY = Contract(
    sentence="build(name, input_size=257)(feats, lens): feats (batch, time, input_size) float32 and relative lens "
    "(batch,) or None -> scores (batch,) and frame_scores (batch, time), a score being the mean of its valid frames",
    laws=(
        Law(
            "feats (batch, time, input_size) give float32 scores (batch,) and frame_scores (batch, time)",
            _scores_have_shape,
            "Return the pair (scores, frame_scores), without a trailing dimension of 1.",
        ),
        Law(
            "scores are finite for features that are all 0",
            _scores_finite,
            "Look for a division or logarithm of the features' own size.",
        ),
        Law(
            "a score is the mean of the scores of its item's valid frames",
            _score_is_mean,
            "Divide the sum over the first round(lens * time) frames by their number.",
        ),
        Law(
            "lens=None means that every item is full",
            _scores_default_lens,
            "Let forward(feats, lens=None) treat None as lens of 1.",
        ),
        Law(
            "padding, whatever it holds, changes neither a score nor a valid frame score",
            _scores_ignore_padding,
            "Mask the mean and the recurrence by round(lens * time); a backward LSTM must begin at the item's own end.",
        ),
        Law(
            "the order of the batch changes no score",
            _order_is_nothing,
            "Keep statistics over the batch out of the part.",
        ),
        Law(
            "a gradient reaches every parameter and the input",
            _gradients_arrive,
            "Remove unused layers, and detach() or no_grad() on the way to the score.",
        ),
    ),
)

# -------------------------------------------------------------------------------------------------------- enhancer


def _enhancer(subject: Subject):
    import torch

    part = build(subject.name, input_size=_NUM_BINS)
    if not isinstance(part, torch.nn.Module):
        raise Broken(f"build gave a {type(part).__name__} instead of a torch.nn.Module")
    return part.eval()


def _masks_have_shape(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _enhancer(subject)
        for batch, time in ((4, _NUM_FRAMES), (1, 1)):
            shape = (batch, time, _NUM_BINS)
            masks = part(torch.rand(shape), None)
            _must_be(masks, shape, f"masks for feats {shape}")
            if not (masks >= 0).all() or not (masks <= 1).all():
                raise Broken(f"masks from {masks.min().item():.3g} to {masks.max().item():.3g}")


def _masks_of_silence(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        masks = _enhancer(subject)(torch.zeros(2, _NUM_FRAMES, _NUM_BINS), None)
        if not masks.isfinite().all():
            raise Broken(f"{(~masks.isfinite()).sum().item()} of {masks.numel()} values for silence are not finite")


def _masks_default_lens(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _enhancer(subject)
        feats, _ = _padded_feats(torch)
        _must_agree(part(feats, None), part(feats, torch.ones(len(feats))), "masks without lens and with lens of 1")


def _masks_ignore_padding(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _enhancer(subject)
        feats, lens = _padded_feats(torch)
        _must_ignore_padding(part, feats, lens, torch.rand, "masks")


def _masks_ignore_level(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _enhancer(subject)
        feats, lens = _padded_feats(torch)
        _must_agree(part(0.01 * feats, lens), part(feats, lens), "masks of spectra and of the same 40 dB lower")


def _masks_have_gradients(subject: Subject) -> None:
    with _examination() as torch:
        feats, lens = _padded_feats(torch)
        part = _enhancer(subject).train()
        feats.requires_grad_()
        part(feats, lens).sum().backward()
        _must_have_gradients([*part.named_parameters(), ("the input feats", feats)])


_ENHANCER = Contract(
    sentence="build(name, input_size=257)(feats, lens): magnitudes (batch, time, input_size) float32 of noisy speech "
    "and relative lens (batch,) or None -> masks of the same shape, in [0, 1], whatever the level of the recording",
    laws=(
        Law(
            "feats (batch, time, input_size) give float32 masks of the same shape, in [0, 1]",
            _masks_have_shape,
            "End in a sigmoid, one value a frequency bin.",
        ),
        Law(
            "masks are finite for silence",
            _masks_of_silence,
            "Look for a division or logarithm of the features' own size.",
        ),
        Law(
            "lens=None means that every item is full",
            _masks_default_lens,
            "Let forward(feats, lens=None) treat None as lens of 1.",
        ),
        Law(
            "padding, whatever it holds, changes no mask of a valid frame",
            _masks_ignore_padding,
            "Mask statistics by round(lens * time); a backward LSTM must begin at the item's own end.",
        ),
        Law(
            "the level of a recording changes no mask",
            _masks_ignore_level,
            "Divide the features by their own level in the item.",
        ),
        Law(
            "a gradient reaches every parameter and the input",
            _masks_have_gradients,
            "Remove unused layers, and detach() or no_grad() on the way to the masks.",
        ),
    ),
)

# --------------------------------------------------------------------------------------------------------- segment


def _keyword(torch, start: int, samples: int = 6400):
    """Three seconds of faint noise with a loud stretch in it."""
    wav = 0.001 * torch.randn(48000)
    wav[start : start + samples] += 0.2 * torch.randn(samples)
    return wav


def _segment_lies_within(subject: Subject) -> None:
    with _examination() as torch:
        part = build(subject.name)
        for samples in (part.num_samples, part.num_samples + 7, 48000):
            start = part(0.1 * torch.randn(samples))
            if not isinstance(start, int) or not 0 <= start <= samples - part.num_samples:
                raise Broken(f"{start!r} for {samples} samples and a segment of num_samples={part.num_samples}")


def _keyword_is_held(subject: Subject) -> None:
    with _examination() as torch:
        part = build(subject.name)
        for place in (0, 9000, 48000 - 6400):
            start = part(_keyword(torch, place))
            if start > place + 160 or start + part.num_samples < place + 6400 - 160:
                raise Broken(
                    f"samples {start} to {start + part.num_samples} for a keyword from {place} to {place + 6400}"
                )


def _end_is_held(subject: Subject) -> None:
    with _examination() as torch:
        part = build(subject.name)
        start, end = part(0.1 * torch.randn(48000), end=40000), 40000
        if not start < end <= start + part.num_samples <= end + 4000:
            raise Broken(f"samples {start} to {start + part.num_samples} for a keyword that ends at {end}")


def _no_keyword_is_refused(subject: Subject) -> None:
    with _examination() as torch:
        part = build(subject.name)
        short = 0.1 * torch.randn(part.num_samples - 1)
        for what, wav in (("silence", torch.zeros(48000)), ("a recording shorter than the segment", short)):
            try:
                start = part(wav)
            except AudioError:
                continue
            raise Broken(f"{start!r} for {what}")


_SEGMENT = Contract(
    sentence="build(name, sample_rate=16000, seconds=0.8)(wav, end): wav (samples,) float32, and the keyword's last "
    "sample or None -> the first sample of the segment of num_samples that holds the keyword",
    laws=(
        Law(
            "the segment lies within the recording",
            _segment_lies_within,
            "Return an int from 0 to samples - num_samples, and give the part an attribute num_samples.",
        ),
        Law("a keyword shorter than the segment lies in it whole", _keyword_is_held, "Look for where it is loud."),
        Law(
            "where the keyword's end is known, the segment ends there or shortly behind it",
            _end_is_held,
            "Use ``end`` instead of looking for the keyword.",
        ),
        Law(
            "silence and too short recordings are refused with an AudioError",
            _no_keyword_is_refused,
            "Raise speechtools.core.errors.AudioError with what was given and why it cannot be.",
        ),
    ),
)

# ---------------------------------------------------------------------------------------------------------- reader


@contextlib.contextmanager
def _sources() -> Iterator[list]:
    """A source of 6 speakers and one of 20, of random samples."""
    import numpy as np

    from speechtools.keyword.multireader import Source
    from speechtools.speaker.store import store_of

    rng, sources = np.random.default_rng(_SEED), []
    with _temporary_folder() as folder:
        for name, count, num_speakers in (("small", 6, 2), ("large", 20, 4)):
            samples = rng.integers(-3000, 3000, (count, 3, 1000), dtype=np.int16)
            store = store_of(Path(folder) / name, {f"s{u:02d}": list(each) for u, each in enumerate(samples)})
            sources.append(Source(name, store, num_speakers, 3, 1.0, min_samples=800, max_samples=800))
        yield sources


def _reader_has_shape(subject: Subject) -> None:
    with _examination(), _sources() as sources:
        found = build(subject.name, sources=sources)[3]
        if not len(found.names) == len(found.weights) == len(found.parts) > 0:
            raise Broken(
                f"{len(found.names)} names, {len(found.weights)} weights and {len(found.parts)} parts of one step"
            )
        for name, part in zip(found.names, found.parts, strict=True):
            speakers = part.speakers.tolist()
            _must_be(
                part.to("cpu").wavs,
                (3 * len(speakers), 800),
                f"the batch of {name!r} with {len(speakers)} speakers of 3",
            )
            if len(set(speakers)) < max(len(speakers), 2):
                raise Broken(f"the speakers {speakers} in the batch of {name!r}")


def _reader_repeats(subject: Subject) -> None:
    with _examination() as torch, _sources() as sources:
        one, other = (build(subject.name, sources=sources, seed=7) for _ in range(2))
        for step in (5, 0, 5, 31):
            other[step + 1]
            for a, b in zip(one[step].parts, other[step].parts, strict=True):
                if not torch.equal(a.wavs, b.wavs) or not torch.equal(a.speakers, b.speakers):
                    raise Broken(f"another batch at step {step}, when it is asked for again or in another order")


def _reader_silences(subject: Subject) -> None:
    from dataclasses import replace

    with _examination() as torch, _sources() as sources:
        for kept, other in (sources, sources[::-1]):
            silent = [replace(other, weight=0.0) if each is other else each for each in sources]
            with_it, without = (build(subject.name, sources=each) for each in (silent, [kept]))
            for step in range(3):
                ours, theirs = ([part.wavs for part in reader[step].parts] for reader in (with_it, without))
                if len(ours) != len(theirs) or not all(map(torch.equal, ours, theirs)):
                    raise Broken(f"step {step} with a source of weight 0 differs from the one without it")


def _reader_divides(subject: Subject) -> None:
    with _examination(), _sources() as sources:
        ranks = [build(subject.name, sources=sources, rank=rank, world_size=2) for rank in range(2)]
        for step in range(3):
            for name, one, other in zip(ranks[0][step].names, *(rank[step].parts for rank in ranks), strict=True):
                both = set(one.speakers.tolist()) & set(other.speakers.tolist())
                if both:
                    raise Broken(f"both processes have the speakers {sorted(both)} of {name!r} at step {step}")


_READER = Contract(
    sentence="build(name, sources, seed, rank, world_size)[step]: sources a sequence of Source -> SourceBatches: "
    "names, weights, and parts with wavs (speakers * utterances, samples) and speakers (speakers,)",
    laws=(
        Law(
            "a step has names, weights and batches of speakers that occur once",
            _reader_has_shape,
            "Return speechtools.keyword.multireader.SourceBatches; SpeakerBatches makes the batch of a store.",
        ),
        Law(
            "a step depends on the seed and its number alone",
            _reader_repeats,
            "Draw from np.random.default_rng([seed, step]) instead of keeping a state.",
        ),
        Law(
            "a source of weight 0 changes nothing", _reader_silences, "Leave such sources out before anything is drawn."
        ),
        Law(
            "processes draw other speakers",
            _reader_divides,
            "Let rank and world_size divide one order of the speakers.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------------------- vad


def _bursts(torch):
    """A second of faint noise with half a second of loud noise in its middle, one row with an offset, one padded."""
    wavs = 0.001 * torch.randn(3, _NUM_SAMPLES)
    wavs[:, 4000:12000] += 0.3 * torch.randn(3, 8000)
    wavs[1] += 0.2
    return wavs


def _speech_has_shape(subject: Subject) -> None:
    with _examination() as torch:
        part = build(subject.name)
        for batch, samples in ((3, _NUM_SAMPLES), (1, 9001), (1, 7)):
            speech = part(0.1 * torch.randn(batch, samples))
            shape = (batch, -(-samples // part.hop_length))
            if not isinstance(speech, torch.Tensor) or speech.dtype != torch.bool or tuple(speech.shape) != shape:
                seen = (
                    (speech.dtype, tuple(speech.shape)) if isinstance(speech, torch.Tensor) else type(speech).__name__
                )
                raise Broken(f"{batch} waveforms of {samples} samples gave {seen} instead of booleans {shape}")


def _silence_is_silent(subject: Subject) -> None:
    with _examination() as torch:
        if build(subject.name)(torch.zeros(1, _NUM_SAMPLES)).any():
            raise Broken("speech in digital silence")


def _never_nothing(subject: Subject) -> None:
    with _examination() as torch:
        part = build(subject.name)
        click = torch.zeros(1, _NUM_SAMPLES)
        click[0, 5000] = 0.5
        short = 0.1 * torch.randn(1, 100)
        for what, wavs in (("a single click", click), ("100 samples of noise", short), ("bursts", _bursts(torch))):
            if not part(wavs).any(dim=1).all():
                raise Broken(f"no speech in {what}")


def _speech_ignores_padding(subject: Subject) -> None:
    with _examination() as torch:
        part = build(subject.name)
        wavs = _bursts(torch)
        alone = part(wavs[:1])[0]
        padded = part(torch.nn.functional.pad(wavs[:1], (0, 8000)), torch.tensor([2 / 3]))[0]
        if padded[len(alone) :].any():
            raise Broken("speech beyond an item's length")
        if not torch.equal(padded[: len(alone)], alone):
            raise Broken("other frames for a waveform when it is padded")


_VAD = Contract(
    sentence="build(name)(wavs, lens): wavs (batch, samples) float32 and relative lens (batch,) or None -> booleans "
    "(batch, time), one for each hop_length samples, true where there is speech",
    laws=(
        Law(
            "wavs (batch, samples) give booleans (batch, ceil(samples / hop_length))",
            _speech_has_shape,
            "Give the part an attribute hop_length, and a decision for the last, shorter frame too.",
        ),
        Law("digital silence holds no speech", _silence_is_silent, "Treat a waveform of zeros before all else."),
        Law(
            "a waveform with any signal holds some speech",
            _never_nothing,
            "Fall back to the loudest frame where the thresholds leave nothing.",
        ),
        Law(
            "padding changes no decision, and there is no speech beyond an item's length",
            _speech_ignores_padding,
            "Take levels and percentiles over each item's own frames.",
        ),
    ),
)


# --------------------------------------------------------------------------------------------------------- encoder

_NUM_MELS = 40


def _encoder(subject: Subject):
    import torch

    part = build(subject.name, input_size=_NUM_MELS)
    if not isinstance(part, torch.nn.Module):
        raise Broken(f"build gave a {type(part).__name__} instead of a torch.nn.Module")
    return part.eval()


def _mel_feats(torch):
    feats = torch.randn(len(_ITEM_FRAMES), _NUM_FRAMES, _NUM_MELS)
    return feats, torch.tensor(_ITEM_FRAMES, dtype=torch.float32) / _NUM_FRAMES


def _dvectors_are_unit(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _encoder(subject)
        for batch, time in ((4, _NUM_FRAMES), (1, 1)):
            dvectors = part(torch.randn(batch, time, _NUM_MELS))
            _must_be(dvectors, (batch, part.embedding_size), f"d-vectors of feats {(batch, time, _NUM_MELS)}")
            _must_agree(dvectors.norm(dim=1), torch.ones(batch), "the lengths of d-vectors and 1")


def _dvectors_ignore_padding(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _encoder(subject)
        feats, lens = _mel_feats(torch)
        _must_ignore_padding(part, feats, lens, torch.randn, "d-vector")


def _dvectors_default_lens(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part = _encoder(subject)
        feats, lens = _mel_feats(torch)
        _must_agree(part(feats), part(feats, torch.ones_like(lens)), "d-vectors without lens and with lens of 1")


def _dvector_gradients_arrive(subject: Subject) -> None:
    with _examination() as torch:
        part = _encoder(subject).train()
        feats, lens = _mel_feats(torch)
        (part(feats, lens) * torch.randn(part.embedding_size)).sum().backward()
        for name, parameter in part.named_parameters():
            if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any()):
                raise Broken(f"no gradient in {name}")


_ENCODER = Contract(
    sentence="build(name, input_size=40)(feats, lens): feats (batch, time, input_size) float32 and relative lens "
    "(batch,) or None -> d-vectors (batch, embedding_size) of length 1",
    laws=(
        Law(
            "feats (batch, time, input_size) give float32 d-vectors (batch, embedding_size) of length 1",
            _dvectors_are_unit,
            "End with torch.nn.functional.normalize, and give the part an attribute embedding_size.",
        ),
        Law(
            "lens=None means that every item is full",
            _dvectors_default_lens,
            "Let forward(feats, lens=None) treat None as lens of 1.",
        ),
        Law(
            "padding, whatever it holds, changes no d-vector",
            _dvectors_ignore_padding,
            "Take the last frame, or the mean, of the first round(lens * time) frames.",
        ),
        Law("a gradient reaches every parameter", _dvector_gradients_arrive, "Remove layers that are not used."),
    ),
)


# ------------------------------------------------------------------------------------------------------------ loss

_SPEAKERS, _UTTERANCES, _EMBEDDING = 5, 4, 16


def _loss(subject: Subject):
    import torch

    part = build(subject.name)
    if hasattr(part, "set_speakers"):
        part.set_speakers(_SPEAKERS, _EMBEDDING)
        # What a classifier learns: speaker k along the axis k.
        for parameter in part.parameters():
            if parameter.dim() == 2:
                with torch.no_grad():
                    parameter.copy_(torch.eye(_SPEAKERS, _EMBEDDING))
    return part


def _clustered(torch, spread: float):
    centres = torch.eye(_SPEAKERS, _EMBEDDING).unsqueeze(1)
    noisy = centres + spread * torch.randn(_SPEAKERS, _UTTERANCES, _EMBEDDING)
    return torch.nn.functional.normalize(noisy, dim=2)


def _loss_is_scalar(subject: Subject) -> None:
    with _examination() as torch:
        part, labels = _loss(subject), torch.arange(_SPEAKERS)
        for spread in (0.0, 0.3, 100.0):
            loss = part(_clustered(torch, spread), labels)
            if not isinstance(loss, torch.Tensor) or loss.dim() != 0 or not loss.isfinite():
                raise Broken(f"{loss} for d-vectors around their speakers with a spread of {spread}")


def _flat_equals_regular(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part, labels = _loss(subject), torch.arange(_SPEAKERS)
        dvectors = _clustered(torch, 0.5)
        flat = part(dvectors.flatten(0, 1), labels.repeat_interleave(_UTTERANCES))
        _must_agree(flat, part(dvectors, labels), "the loss of (batch, emb) with labels and of (speakers, …)")


def _apart_is_better(subject: Subject) -> None:
    with _examination() as torch, torch.no_grad():
        part, labels = _loss(subject), torch.arange(_SPEAKERS)
        apart, mixed = part(_clustered(torch, 0.05), labels), part(_clustered(torch, 100.0), labels)
        if not apart < mixed:
            raise Broken(f"{apart.item():.4g} for speakers far apart, and {mixed.item():.4g} for d-vectors at random")


def _loss_gradients_arrive(subject: Subject) -> None:
    with _examination() as torch:
        part, dvectors = _loss(subject), _clustered(torch, 0.5).requires_grad_()
        part(dvectors, torch.arange(_SPEAKERS)).backward()
        for name, value in [*part.named_parameters(), ("the d-vectors", dvectors)]:
            if value.grad is None or not value.grad.any() or not value.grad.isfinite().all():
                raise Broken(f"no finite gradient in {name}")


_LOSS = Contract(
    sentence="build(name)(dvectors, speakers): dvectors (speakers, utterances, emb) and one label a speaker, or "
    "(batch, emb) and one label each -> scalar; set_speakers(num_speakers, embedding_size) first, where it has that",
    laws=(
        Law("d-vectors and labels give a finite scalar", _loss_is_scalar, "Reduce over the batch, without a log of 0."),
        Law(
            "(speakers, utterances, emb) and (batch, emb) with labels give the same loss",
            _flat_equals_regular,
            "Let the labels alone say which d-vectors belong together.",
        ),
        Law(
            "speakers far apart have a lower loss than d-vectors at random",
            _apart_is_better,
            "Look at the sign: the paper's equations 3 and 6 are printed as they are maximised.",
        ),
        Law(
            "a finite gradient reaches the d-vectors and every parameter",
            _loss_gradients_arrive,
            "Look for a clamp or a detach() on the way.",
        ),
    ),
)

CONTRACTS: dict[str, Contract] = {
    "corpus": _CORPUS,
    "encoder": _ENCODER,
    "enhancer": _ENHANCER,
    "features": _FEATURES,
    "loss": _LOSS,
    "quality": _QUALITY,
    "reader": _READER,
    "segment": _SEGMENT,
    "vad": _VAD,
}
