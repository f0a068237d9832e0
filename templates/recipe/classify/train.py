"""my-corpus/my-task: which word is spoken in a recording. A starting point for a task of your own.

python train.py hparams/train.yaml                                     # built-in synthetic corpus
python train.py hparams/train.yaml --corpus=speech-commands --data_folder=/corpora/SpeechCommands --words='[yes, no]'
"""

from speechtools import audio, build, training
from speechtools.core.errors import CorpusError
from speechtools.core.results import write_json

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import torch
from torch.nn.functional import cross_entropy
from words import WordClassifier


class WordBrain(training.RecipeBrain):
    """The method: what is computed from a batch, what is minimised, and how good the result is."""

    selection_key = "error"  # of the metrics that validate returns, the one that chooses the checkpoint (lowest)

    def on_stage_start(self, stage, epoch=None):
        super().on_stage_start(stage, epoch)
        self.errors = []

    def compute_forward(self, batch, stage):
        wavs, lens = batch.to(self.device).wav
        feats = self.modules.features(wavs, lens)
        # (batch, time, size)
        return self.modules.net(feats, self.modules.features.frame_lens(lens, wavs.shape[1]))
        # (batch, words)

    def compute_objectives(self, logits, batch, stage):
        self.errors += (logits.argmax(dim=1) != batch.word).float().tolist()
        return cross_entropy(logits, batch.word)

    def validate(self, stage):
        return {"error": sum(self.errors) / len(self.errors)}


class Recordings(torch.utils.data.Dataset):
    """The waveform and the number of the word of each utterance."""

    def __init__(self, utterances, words, sample_rate):
        self.utterances, self.words, self.sample_rate = utterances, words, sample_rate

    def __len__(self):
        return len(self.utterances)

    def __getitem__(self, index):
        utterance = self.utterances[index]
        wav = torch.from_numpy(audio.read(utterance.path, self.sample_rate))
        return {"id": utterance.utt_id, "wav": wav, "word": self.words.index(utterance.text)}


def read_splits(hparams):
    """The utterances of the words, by split. Validation speakers are taken from training if the corpus has none."""
    options = hparams["corpus_options"].get(hparams["corpus"], {})
    if hparams["data_folder"]:
        options = {"data_folder": hparams["data_folder"], **options}
    utterances = [u for u in build(f"corpus/{hparams['corpus']}", **options) if u.text in hparams["words"]]
    splits = {split: [u for u in utterances if u.split == split] for split in ("train", "valid", "test")}
    if not splits["valid"]:
        speakers = sorted({u.speaker for u in splits["train"]})
        heldout = set(speakers[:: hparams["valid_every"]])
        splits["valid"] = [u for u in splits["train"] if u.speaker in heldout]
        splits["train"] = [u for u in splits["train"] if u.speaker not in heldout]
    for split, members in splits.items():
        if not members:
            raise CorpusError(f"corpus/{hparams['corpus']} has no {split} utterance of the words {hparams['words']}.")
    return splits


if __name__ == "__main__":
    hparams, run_opts = training.start()
    splits = training.on_main_first(lambda: read_splits(hparams))
    datasets = {key: Recordings(rows, hparams["words"], hparams["sample_rate"]) for key, rows in splits.items()}
    loaders = training.loaders_by_length(datasets, splits, hparams["batch_size"], hparams["seed"])

    brain = WordBrain(
        hparams["modules"],
        hparams["opt_class"],
        hparams,
        run_opts,
        hparams["checkpointer"],
        train_batches=loaders["train"].batch_sampler,
    )
    brain.fit(hparams["epoch_counter"], loaders["train"], loaders["valid"])
    metrics = brain.evaluate_best(loaders["test"])

    if training.end_distributed():  # the first process continues alone
        origin = hparams["corpus"].replace("builtin-keywords", "built-in synthetic keywords")
        facts = {"trained_on": origin, "reached": metrics}
        keys = ["sample_rate", "words", "features", "net"]
        folder = training.export(hparams, keys, {"net": hparams["net"]}, facts)
        sample = splits["test"][0]
        word = WordClassifier.from_hparams(folder).classify_file(sample.path)
        write_json(f"{hparams['output_folder']}/results.json", {**facts, "num_test": len(splits["test"])})
        print(f"{origin}: test error {metrics['error']:.1%}; {sample.path} ({sample.text}): {word}\nmodel: {folder}")
