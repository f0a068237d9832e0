"""Every registered part keeps the contract of its kind; and for each law, a part that breaks it is found out."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import speechtools
from speechtools.core import contract as contracts
from speechtools.core import registry
from speechtools.core.errors import AudioError, CorpusError, PluginError
from speechtools.corpora.utterance import Utterance
from speechtools.keyword import multireader
from speechtools.keyword.segments import EnergySegment


@pytest.mark.parametrize("name", speechtools.available())
def test_every_registered_part_keeps_its_contract(name):
    if name == "vad/webrtc":
        pytest.importorskip("webrtcvad", reason="the extra 'vad' is not installed")
    passed = contracts.check(name)
    laws = [law.sentence for law in contracts.contract(name.split("/")[0]).laws]
    assert passed and set(passed) <= set(laws)
    if not contracts.needs_data_folder(name):
        makes_data = name.startswith("corpus/")
        assert len(passed) == len(laws) - 2 * makes_data  # whoever makes its own data may start from an empty folder


@pytest.mark.parametrize("kind", sorted(registry.KIND_MODULES))
def test_every_kind_has_a_contract(kind):
    contract = contracts.contract(kind)
    assert contract.sentence.startswith("build(name")
    assert contract.laws


@pytest.fixture
def file_part(monkeypatch):
    """File a part for the length of a test."""
    monkeypatch.setattr(registry, "_parts", dict(registry._parts))

    def file(name, part):
        speechtools.plugin(name)(part)
        return name

    return file


def must_break(name: str, law: str, seen: str, **options) -> None:
    """The law that holds the words ``law`` is found broken, those before it having passed, and the message is whole."""
    kind = name.split("/")[0]
    laws = contracts.contract(kind).laws
    (broken,) = (candidate for candidate in laws if law in candidate.sentence)
    passed = []
    with pytest.raises(PluginError, match="breaks a law of the kind") as caught:
        contracts.check(name, **options, report=passed.append)
    message = str(caught.value)
    assert message.startswith(f"{name} (")
    assert f"{kind!r}: {broken.sentence}. Seen: " in message
    found = isinstance(caught.value.__cause__, contracts.Broken)  # and not raised by the part
    assert message.endswith(broken.remedy if found else "It raised that itself. Mend that first.")
    assert re.search(seen, message)
    assert passed == [each.sentence for each in laws[: laws.index(broken)] if each.sentence in passed]
    assert broken.sentence not in passed


# -------------------------------------------------------------------------------------------------------- features


class Bands(nn.Module):
    """Mean power in eight pieces of each window: a correct part, with no padding at either end."""

    size, win_length, hop_length = 8, 400, 160

    def num_samples(self, frames):
        return 400 + (frames - 1) * 160

    def num_frames(self, samples):
        return 1 + (samples - 400) // 160

    def frame_lens(self, lens, num_samples):
        return self.num_frames((lens * num_samples).round()) / self.num_frames(num_samples)

    def forward(self, wavs, lens=None):
        return wavs.unfold(1, 400, 160).unflatten(2, (8, 50)).square().mean(3)


class TimeLast(Bands):
    def forward(self, wavs, lens=None):
        return super().forward(wavs, lens).transpose(1, 2)


class Doubles(Bands):
    def forward(self, wavs, lens=None):
        return super().forward(wavs.double(), lens)


class NoBatch(Bands):
    def forward(self, wavs, lens=None):
        return super().forward(wavs, lens)[0]


class NotATensor(Bands):
    def forward(self, wavs, lens=None):
        return super().forward(wavs, lens).numpy()


class LogOfNothing(Bands):
    def forward(self, wavs, lens=None):
        return super().forward(wavs, lens).log()


class ChokesOnSilence(Bands):
    def forward(self, wavs, lens=None):
        if not wavs.any():
            raise AudioError("There is no sound in this.")
        return super().forward(wavs, lens)


class PeakOfBatch(Bands):
    def forward(self, wavs, lens=None):
        return super().forward(wavs / wavs.abs().max().clamp(min=1e-8), lens)


class HalfByDefault(Bands):
    def forward(self, wavs, lens=None):
        full = wavs.shape[1]
        kept = torch.full((len(wavs),), full // 2) if lens is None else (lens * full).round()
        return super().forward(wavs * (torch.arange(full) < kept[:, None]), lens)


class LensOfSamples(Bands):
    def frame_lens(self, lens, num_samples):
        return lens


class NoFrameLens(Bands):
    frame_lens = None


class FrameLensOfOne(Bands):
    def frame_lens(self, lens, num_samples):
        return super().frame_lens(lens, num_samples).mean()


class ReflectsTheEnd(Bands):
    def num_frames(self, samples):
        return 1 + samples // 160

    def forward(self, wavs, lens=None):
        return super().forward(nn.functional.pad(wavs, (200, 200), mode="reflect"))


class MeanOfAll(Bands):
    def forward(self, wavs, lens=None):
        feats = super().forward(wavs)
        return feats / feats.mean(1, keepdim=True).clamp(min=1e-8)


class WrongSize(Bands):
    size = 9


class OneTooFew(Bands):
    def num_samples(self, frames):
        return frames * 160


class NeedsMore(Bands):
    def __init__(self, n_bands):
        super().__init__()


def test_correct_features_pass(file_part):
    passed = contracts.check(file_part("features/bands", Bands))
    assert passed == [law.sentence for law in contracts.contract("features").laws]


SHAPE, FRAME_LENS, PADDING = "frames (batch, time, size)", "frame_lens(lens", "padding with zeros"
WINDOWS = "size, win_length, hop_length"


@pytest.mark.parametrize(
    "part, law, seen",
    [
        (TimeLast, SHAPE, r"sizes \[54, 98\]"),
        (Doubles, SHAPE, "torch.float64"),
        (NoBatch, SHAPE, r"gave \(98, 8\) instead of a tensor \(batch, time, size\)"),
        (NotATensor, SHAPE, "gave ndarray"),
        (NeedsMore, SHAPE, "needs 'n_bands', which was not given"),
        (LogOfNothing, "are finite", "784 of 784 values for digital silence"),
        (ChokesOnSilence, "are finite", "AudioError: There is no sound in this. "),
        (PeakOfBatch, "other rows", "row 1 in a batch and the same alone differ by"),
        (HalfByDefault, "lens=None", "without lens and with lens of 1 differ by"),
        (LensOfSamples, FRAME_LENS, "11203 samples have 68 frames, .* frame_lens says 69"),
        (NoFrameLens, FRAME_LENS, "TypeError: 'NoneType' object is not callable"),
        (FrameLensOfOne, FRAME_LENS, r"of shape \(\) instead of torch.float32 of shape \(4,\)"),
        (ReflectsTheEnd, PADDING, "the frames of 11203 samples, alone and padded to 16000, differ by"),
        (MeanOfAll, PADDING, "the frames of 11203 samples"),
        (WrongSize, WINDOWS, r"give \(1, 8\) frames and values, with size=9"),
        (OneTooFew, WINDOWS, "maximum size for tensor"),
    ],
)
def test_broken_features_are_found_out(file_part, part, law, seen):
    must_break(file_part("features/broken", part), law, seen)


# --------------------------------------------------------------------------------------------------------- quality


class Head(nn.Module):
    """A linear score a frame and their mean over the valid frames: a correct part."""

    def __init__(self, input_size):
        super().__init__()
        self.linear = nn.Linear(input_size, 1)

    def assess_frames(self, feats, mask):
        return self.linear(feats).squeeze(2)

    def average(self, frame_scores, mask):
        return (frame_scores * mask).sum(1) / mask.sum(1)

    def forward(self, feats, lens=None):
        time = feats.shape[1]
        counts = torch.full((len(feats),), time) if lens is None else (lens * time).round()
        mask = torch.arange(time) < counts[:, None]
        frame_scores = self.assess_frames(feats, mask)
        return self.average(frame_scores, mask), frame_scores


class ColumnOfScores(Head):
    def forward(self, feats, lens=None):
        scores, frame_scores = super().forward(feats, lens)
        return scores[:, None], frame_scores


class OnlyScores(Head):
    def forward(self, feats, lens=None):
        return super().forward(feats, lens)[0]


class UnitNorm(Head):
    def assess_frames(self, feats, mask):
        return super().assess_frames(feats / feats.norm(dim=2, keepdim=True), mask)


class MeanOfPadded(Head):
    def average(self, frame_scores, mask):
        return (frame_scores * mask).mean(1)


class WorstFrame(Head):
    def average(self, frame_scores, mask):
        return frame_scores.masked_fill(~mask, float("inf")).amin(1)


class HalfHead(Head):
    def forward(self, feats, lens=None):
        return super().forward(feats, torch.full((len(feats),), 0.5) if lens is None else lens)


class SubtractsTheMean(Head):
    def assess_frames(self, feats, mask):
        return super().assess_frames(feats - feats.mean(1, keepdim=True), mask)


class BackwardFromThePadding(Head):
    def __init__(self, input_size):
        super().__init__(input_size)
        self.lstm = nn.LSTM(input_size, 4, batch_first=True)
        self.linear = nn.Linear(4, 1)

    def assess_frames(self, feats, mask):
        return super().assess_frames(self.lstm(feats.flip(1))[0].flip(1), mask)


class SortedOnly(Head):
    def assess_frames(self, feats, mask):
        nn.utils.rnn.pack_padded_sequence(feats, mask.sum(1), batch_first=True)
        return super().assess_frames(feats, mask)


class Unused(Head):
    def __init__(self, input_size):
        super().__init__(input_size)
        self.forgotten = nn.Linear(3, 3)


class Detached(Head):
    def assess_frames(self, feats, mask):
        return super().assess_frames(feats.detach(), mask)


class GradientOfRoot(Head):
    def assess_frames(self, feats, mask):
        return super().assess_frames(feats, mask) + (feats - feats).sum(2).sqrt()


def head_that_is_no_module(input_size):
    return Head(input_size).forward


def test_a_correct_head_passes(file_part):
    passed = contracts.check(file_part("quality/head", Head))
    assert passed == [law.sentence for law in contracts.contract("quality").laws]


SCORES, PADDING, GRADIENT = "float32 scores (batch,)", "padding, whatever it holds", "a gradient reaches"


@pytest.mark.parametrize(
    "part, law, seen",
    [
        (ColumnOfScores, SCORES, r"scores for feats .* of shape \(4, 1\) instead of torch.float32 of shape \(4,\)"),
        (OnlyScores, SCORES, r"returned a Tensor instead of the pair \(scores, frame_scores\)"),
        (head_that_is_no_module, SCORES, "build gave a method instead of a torch.nn.Module"),
        (UnitNorm, "features that are all 0", r"scores \[nan, nan\]"),
        (MeanOfPadded, "is the mean", "an item of 41 of 60 frames and the mean of its frame scores differ by"),
        (WorstFrame, "is the mean", "an item of 60 of 60 frames"),
        (HalfHead, "lens=None", "scores without lens and with lens of 1 differ by"),
        (SubtractsTheMean, PADDING, "scores of 41 frames, alone and padded with noise to 60, differ by"),
        (BackwardFromThePadding, PADDING, "scores of 41 frames"),
        (SortedOnly, "order of the batch", "RuntimeError: `lengths` array must be sorted"),
        (Unused, GRADIENT, "no gradient in forgotten.weight"),
        (Detached, GRADIENT, "no gradient in the input feats"),
        (GradientOfRoot, GRADIENT, "a gradient in the input feats that is not finite"),
    ],
)
def test_broken_heads_are_found_out(file_part, part, law, seen):
    must_break(file_part("quality/broken", part), law, seen)


# -------------------------------------------------------------------------------------------------------- enhancer


class Masker(nn.Module):
    """A mask from each frame's own magnitudes, over the level of the valid ones: a correct part."""

    def __init__(self, input_size):
        super().__init__()
        self.linear = nn.Linear(input_size, input_size)

    def level(self, feats, mask):
        return ((feats * mask).square().sum((1, 2)) / mask.sum((1, 2))).sqrt()[:, None, None] + 1e-9

    def hear(self, feats, mask):
        return feats / self.level(feats, mask)

    def forward(self, feats, lens=None):
        time = feats.shape[1]
        counts = torch.full((len(feats),), time) if lens is None else (lens * time).round()
        mask = (torch.arange(time) < counts[:, None])[:, :, None]
        return torch.sigmoid(self.linear(self.hear(feats, mask)))


class Bounds(Masker):
    def forward(self, feats, lens=None):
        return 4 * super().forward(feats, lens)


class MaskOfFrames(Masker):
    def forward(self, feats, lens=None):
        return super().forward(feats, lens).mean(2)


class DividesByTheLevel(Masker):
    def level(self, feats, mask):
        return super().level(feats, mask) - 1e-9


class PartMasker(Masker):
    def forward(self, feats, lens=None):
        return super().forward(feats, torch.full((len(feats),), 0.8) if lens is None else lens)


class LevelOfThePadding(Masker):
    def level(self, feats, mask):
        return super().level(feats, torch.ones_like(mask).expand_as(feats))


class HearsTheLevel(Masker):
    def level(self, feats, mask):
        return 1.0


class DetachedMasker(Masker):
    def hear(self, feats, mask):
        return super().hear(feats, mask).detach()


class UnusedMasker(Masker):
    def __init__(self, input_size):
        super().__init__(input_size)
        self.forgotten = nn.Linear(3, 3)


def masker_that_is_no_module(input_size):
    return Masker(input_size).forward


def test_a_correct_enhancer_passes(file_part):
    passed = contracts.check(file_part("enhancer/masker", Masker))
    assert passed == [law.sentence for law in contracts.contract("enhancer").laws]


@pytest.mark.parametrize(
    "part, law, seen",
    [
        (Bounds, "masks of the same shape, in", r"masks from [\d.]+ to [\d.]+"),
        (MaskOfFrames, "masks of the same shape, in", r"masks for feats .* instead of torch.float32 of shape \("),
        (masker_that_is_no_module, "masks of the same shape, in", "build gave a method instead of a torch.nn.Module"),
        (DividesByTheLevel, "masks are finite for silence", r"\d+ of \d+ values for silence are not finite"),
        (PartMasker, "lens=None", "masks without lens and with lens of 1 differ by"),
        (LevelOfThePadding, PADDING, "masks of 41 frames, alone and padded with noise to 60, differ by"),
        (HearsTheLevel, "the level of a recording", "masks of spectra and of the same 40 dB lower differ by"),
        (DetachedMasker, GRADIENT, "no gradient in the input feats"),
        (UnusedMasker, GRADIENT, "no gradient in forgotten.weight"),
    ],
)
def test_broken_enhancers_are_found_out(file_part, part, law, seen):
    must_break(file_part("enhancer/broken", part), law, seen)


# ---------------------------------------------------------------------------------------------------------- corpus


def read_wavs(data_folder):
    """Every WAV file of a folder, its speaker being the first part of its name: a correct reader."""
    data_folder = Path(data_folder)
    paths = sorted(data_folder.glob("*.wav"))
    if not paths:
        raise CorpusError(f"{data_folder} holds no WAV file. Name a folder that does.")
    for path in paths:
        info = soundfile.info(path)
        yield Utterance(path.stem, path.stem.split("-")[0], "train", path, info.frames / info.samplerate)


def write_wavs(folder, num_speakers=2):
    folder.mkdir(parents=True, exist_ok=True)
    for speaker in range(num_speakers):
        for number in range(2):
            soundfile.write(folder / f"s{speaker}-{number}.wav", np.zeros(1600 * (number + 1), dtype="float32"), 16000)


@pytest.fixture
def wav_folder(tmp_path):
    write_wavs(tmp_path / "wavs")
    return tmp_path / "wavs"


def reader_with(**changes):
    """``read_wavs`` with some fields of the third utterance changed."""

    def reader(data_folder):
        for number, utterance in enumerate(read_wavs(data_folder)):
            yield dataclasses.replace(utterance, **changes) if number == 2 else utterance

    return reader


def path_first(root):
    return read_wavs(root)


def no_parameter():
    return []


def missing_is_none(data_folder):
    return read_wavs(data_folder) if Path(data_folder).exists() else []


def missing_is_an_os_error(data_folder):
    sorted(Path(data_folder).iterdir())
    return read_wavs(data_folder)


def nameless(data_folder):
    raise CorpusError("The corpus is not there. Get it.")


def empty_is_none(data_folder):
    if not Path(data_folder).exists():
        raise CorpusError(f"There is no folder {data_folder}. Make one.")
    return list(Path(data_folder).glob("*.wav")) and read_wavs(data_folder)


def needs_a_list(data_folder, list_file):
    return read_wavs(data_folder)


def dictionaries(data_folder):
    return [dataclasses.asdict(utterance) for utterance in read_wavs(data_folder)]


def test_a_correct_reader_passes(file_part, wav_folder):
    name = file_part("corpus/wavs", read_wavs)
    laws = [law.sentence for law in contracts.contract("corpus").laws]
    assert contracts.needs_data_folder(name)
    assert contracts.check(name) == laws[:3]
    assert contracts.check(name, data_folder=wav_folder) == laws
    assert contracts.check(name, data_folder=str(wav_folder)) == laws


@pytest.mark.parametrize(
    "part, law, seen",
    [
        (path_first, "first parameter is data_folder", "the first parameter is 'root'"),
        (no_parameter, "first parameter is data_folder", "the first parameter is none"),
        (missing_is_none, "does not exist", "for the missing folder .*missing, 0 utterances and no error"),
        (missing_is_an_os_error, "does not exist", "FileNotFoundError"),
        (nameless, "does not exist", "a message that does not name it: The corpus is not there"),
        (needs_a_list, "does not exist", "a message that does not name it: .* needs 'list_file'"),
        (empty_is_none, "an empty data_folder", "for the empty folder .*, 0 utterances and no error"),
    ],
)
def test_readers_that_accept_nothing_are_found_out(file_part, part, law, seen):
    must_break(file_part("corpus/broken", part), law, seen)


@pytest.mark.parametrize(
    "part, law, seen",
    [
        (dictionaries, "unique", "item 0 is a dict"),
        (reader_with(utt_id="s0-0"), "unique", "'s0-0' comes twice, the second time as utterance 2"),
        (reader_with(utt_id=""), "unique", "utterance 2, '', has utt_id=''"),
        (reader_with(speaker=None), "unique", "utterance 2, 's1-0', has speaker=None"),
        (reader_with(split="dev"), "unique", "utterance 2, 's1-0', has split='dev'"),
        (reader_with(text=7), "unique", "utterance 2, 's1-0', has text=7"),
        (reader_with(path=Path("gone.wav")), "every path exists", "path='gone.wav', which does not exist"),
        (reader_with(duration=0.0), "every path exists", "utterance 's1-0' has duration=0.0"),
        (reader_with(duration=float("nan")), "every path exists", "utterance 's1-0' has duration=nan"),
        (reader_with(duration=0.102), "every path exists", "has duration=0.102 s, and its audio lasts 0.1 s"),
    ],
)
def test_readers_of_wrong_utterances_are_found_out(file_part, wav_folder, part, law, seen):
    must_break(file_part("corpus/broken", part), law, seen, data_folder=wav_folder)


def test_within_one_per_cent_a_duration_is_right(file_part, wav_folder):
    name = file_part("corpus/rounded", reader_with(duration=0.1009))
    assert len(contracts.check(name, data_folder=wav_folder)) == 5


def test_a_folder_that_is_not_there_is_no_fault_of_the_reader(file_part, tmp_path):
    name = file_part("corpus/wavs", read_wavs)
    with pytest.raises(PluginError, match="corpus/wavs could not be checked: .*nowhere holds no WAV file"):
        contracts.check(name, data_folder=tmp_path / "nowhere")


def test_a_corpus_that_makes_its_data_is_made_small_and_elsewhere(file_part, tmp_path):
    calls = []

    def spoken(data_folder=tmp_path / "cache", num_train_speakers=462, num_valid_speakers=50, num_test_speakers=168):
        calls.append((data_folder, num_train_speakers, num_valid_speakers, num_test_speakers))
        write_wavs(data_folder, num_train_speakers)
        return read_wavs(data_folder)

    name = file_part("corpus/spoken", spoken)
    laws = [law.sentence for law in contracts.contract("corpus").laws]
    assert not contracts.needs_data_folder(name)
    assert contracts.check(name) == [laws[0], laws[3], laws[4]]
    ((folder, *sizes),) = calls
    assert sizes == [4, 2, 2]
    assert not folder.exists() and not (tmp_path / "cache").exists()


def test_a_corpus_that_makes_nothing_is_found_out(file_part):
    must_break(file_part("corpus/broken", lambda data_folder=None: []), "unique", "no utterance in ")


# ----------------------------------------------------------------------------------------------------- the check


def test_what_cannot_be_checked_is_said(file_part, tmp_path):
    with pytest.raises(PluginError, match="Did you mean 'features/magnitude'"):
        contracts.check("features/magnitud")
    name = file_part("toy/net", Head)
    with pytest.raises(PluginError, match="The kind 'toy' has no contract, .* contracts exist for corpus, "):
        contracts.check(name)
    with pytest.raises(PluginError, match="only a corpus reads a folder. Leave it out"):
        contracts.check("features/magnitude", data_folder=tmp_path)


def test_a_check_leaves_random_state_and_threads_alone(file_part):
    class Noisy(Head):
        def __init__(self, input_size):
            super().__init__(input_size)
            torch.rand(1)

    name = file_part("quality/noisy", Noisy)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    contracts.check(name)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_cause_of_an_error_stays_attached(file_part):
    with pytest.raises(PluginError, match="AudioError: There is no sound") as caught:
        contracts.check(file_part("features/broken", ChokesOnSilence))
    assert isinstance(caught.value.__cause__, AudioError)


# --------------------------------------------------------------------------------------------- segments and readers


class FirstSamples:
    num_samples = 12800

    def __init__(self, sample_rate=16000, seconds=0.8):
        pass

    def __call__(self, wav, end=None):
        if len(wav) < self.num_samples or not wav.any():
            raise AudioError("nothing here")
        return 0 if end is None else max(0, end - self.num_samples)


class Beyond(FirstSamples):
    def __call__(self, wav, end=None):
        return super().__call__(wav, end) + 100


class Loudest(EnergySegment):
    """Looks for the keyword where its end is known, too."""

    def __call__(self, wav, end=None):
        return super().__call__(torch.cat([wav[:24000], 0.01 * wav[24000:]]) if end else wav)


class TakesSilence(EnergySegment):
    def __call__(self, wav, end=None):
        return super().__call__(wav, end) if wav.any() else 0


@pytest.mark.parametrize(
    "part, law, seen",
    [
        (Beyond, "lies within", "100 for 12800 samples"),
        (FirstSamples, "lies in it whole", "samples 0 to 12800 for a keyword from 9000"),
        (Loudest, "ends there or shortly behind it", "for a keyword that ends at 40000"),
        (TakesSilence, "refused with an AudioError", "0 for silence"),
    ],
)
def test_broken_segments_are_found_out(file_part, part, law, seen):
    must_break(file_part("segment/broken", part), law, seen)


class Plain(multireader.MultiReader):
    pass


class Forgets(multireader.MultiReader):
    """Counts its steps instead of listening to which one is asked for."""

    calls = 0

    def __getitem__(self, step):
        self.calls += 1
        return super().__getitem__(self.calls)


class HearsTheSilent(multireader.MultiReader):
    def __init__(self, sources, seed=0, rank=0, world_size=1):
        super().__init__([dataclasses.replace(source, weight=1.0) for source in sources], seed, rank, world_size)


class AllTheSame(multireader.MultiReader):
    def __init__(self, sources, seed=0, rank=0, world_size=1):
        super().__init__(sources, seed)


class OneSpeakerTwice(multireader.MultiReader):
    def __getitem__(self, step):
        found = super().__getitem__(step)
        for part in found.parts:
            part.speakers[1] = part.speakers[0]
        return found


def test_a_correct_reader_of_sources_passes(file_part):
    assert len(contracts.check(file_part("reader/plain", Plain))) == len(contracts.contract("reader").laws)


@pytest.mark.parametrize(
    "part, law, seen",
    [
        (OneSpeakerTwice, "speakers that occur once", "in the batch of 'small'"),
        (Forgets, "the seed and its number alone", "another batch at step"),
        (HearsTheSilent, "weight 0 changes nothing", "with a source of weight 0 differs"),
        (AllTheSame, "other speakers", "both processes have the speakers"),
    ],
)
def test_broken_readers_are_found_out(file_part, part, law, seen):
    must_break(file_part("reader/broken", part), law, seen)
