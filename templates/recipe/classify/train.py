"""my-corpus/my-task: the label of a recording, here the word that is spoken. A starting point for a task of your own.

python train.py hparams/train.yaml                                     # built-in synthetic corpus
python train.py hparams/train.yaml --corpus=speech-commands --data_folder=/corpora/SpeechCommands --labels='[yes, no]'
"""

from speechtools import audio, build, training
from speechtools.core.errors import CorpusError
from speechtools.core.results import write_json
from speechtools.corpora.reading import describe_speech

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import torch
from classifier import Classifier
from torch.nn.functional import cross_entropy


class Brain(training.RecipeBrain):
    """The method: what is computed from a batch, what is minimised, and how good the result is."""

    selection_key = "error"  # of the metrics that validate returns, the one that chooses the checkpoint (lowest)

    def on_stage_start(self, stage, epoch=None):
        """Begin without errors."""
        super().on_stage_start(stage, epoch)
        self.errors = []

    def compute_forward(self, batch, stage):
        """Return logits (batch, labels)."""
        wavs, lens = batch.to(self.device).wav
        feats = self.modules.features(wavs, lens)
        # (batch, time, size)
        return self.modules.net(feats, self.modules.features.frame_lens(lens, wavs.shape[1]))
        # (batch, labels)

    def compute_objectives(self, logits, batch, stage):
        """Return the cross entropy, and collect the errors."""
        self.errors += (logits.argmax(dim=1) != batch.label).float().tolist()
        return cross_entropy(logits, batch.label)

    def validate(self, stage):
        """Return the share of wrong labels of the stage."""
        return {"error": sum(self.errors) / len(self.errors)}


def label_of(utterance):
    """What is predicted of an utterance: here its text."""
    return utterance.text


class Recordings(torch.utils.data.Dataset):
    """The waveform and the number of the label of each utterance."""

    def __init__(self, utterances, labels, sample_rate):
        self.utterances, self.labels, self.sample_rate = utterances, labels, sample_rate

    def __len__(self):
        return len(self.utterances)

    def __getitem__(self, index):
        utterance = self.utterances[index]
        wav = torch.from_numpy(audio.read(utterance.path, self.sample_rate))
        return {"id": utterance.utt_id, "wav": wav, "label": self.labels.index(label_of(utterance))}


def read_splits(hparams):
    """The utterances with a label, by split. Speakers are taken from training if a split is empty."""
    options = hparams["corpus_options"].get(hparams["corpus"], {})
    if hparams["data_folder"]:
        options = {"data_folder": hparams["data_folder"], **options}
    utterances = [u for u in build(f"corpus/{hparams['corpus']}", **options) if label_of(u) in hparams["labels"]]
    splits = {split: [u for u in utterances if (u.split or "train") == split] for split in ("train", "valid", "test")}
    for split in ("test", "valid"):
        if not splits[split]:
            heldout = set(sorted({u.speaker for u in splits["train"]})[:: hparams["heldout_every"]])
            splits[split] = [u for u in splits["train"] if u.speaker in heldout]
            splits["train"] = [u for u in splits["train"] if u.speaker not in heldout]
    for split, members in splits.items():
        if not members:
            raise CorpusError(f"corpus/{hparams['corpus']} has no {split} utterance with {hparams['labels']}.")
    return splits


if __name__ == "__main__":
    hparams, run_opts = training.start()
    splits = training.on_main_first(lambda: read_splits(hparams))
    datasets = {key: Recordings(rows, hparams["labels"], hparams["sample_rate"]) for key, rows in splits.items()}
    loaders = training.loaders_by_length(datasets, splits, hparams["batch_size"], hparams["seed"])

    brain = Brain(
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
        origin = describe_speech([hparams["corpus"]])
        facts = {"trained_on": origin, "reached": metrics}
        keys = ["sample_rate", "labels", "features", "net"]
        folder = training.export(hparams, keys, {"net": hparams["net"]}, facts, Classifier)
        sample = splits["test"][0]
        predicted = Classifier.from_hparams(folder).classify_file(sample.path)
        write_json(f"{hparams['output_folder']}/results.json", {**facts, "num_test": len(splits["test"])})
        key = brain.selection_key
        print(f"{origin}: test {key} {metrics[key]:.4f}\nmodel: {folder}")
        print(f"{sample.path} ({label_of(sample)}): {predicted}")
