"""A keyword detector: tokens heard in a stream, trained with CTC (Graves et al., ICML 2006) on transcribed speech.

python train.py hparams/ctc.yaml                                       # built-in synthetic phrases
python train.py hparams/ctc.yaml --corpus=librispeech --data_folder=/corpora/LibriSpeech --device=cuda
"""

from speechtools import training
from speechtools.inference import KeywordDetector
from speechtools.keyword import reports
from speechtools.keyword.detectors import step_counts
from speechtools.keyword.tokens import ALPHABET, BLANK, train_tokens
from speechtools.keyword.transcripts import TranscribedSpeech, joined, random_gains
from speechtools.speaker.augmentation import FeatureAugmenter

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import speechbrain as sb
import torch
from torch.nn.functional import ctc_loss


class DetectorBrain(training.RecipeBrain):
    """Waveforms -> log-mel features -> convolution and LSTM -> log probabilities of tokens -> CTC."""

    selection_key = "token_error_rate"

    def compute_forward(self, batch, stage):
        """Return log probabilities (batch, steps, tokens), steps (batch,), and the tokens as a list of (tokens,)."""
        wavs, lens = batch.to(self.device).wav
        # (batch, samples), (batch,)
        tokens = [torch.tensor(item, device=self.device) for item in batch.tokens]
        with torch.no_grad():
            if stage == sb.Stage.TRAIN:
                wavs, lens, tokens = joined(random_gains(wavs, self.hparams.gain_db), lens, tokens)
            feats = self.modules.features(wavs, lens)
            # (batch, frames, mels)
            frame_lens = self.hparams.features.frame_lens(lens, wavs.shape[1])
            if stage == sb.Stage.TRAIN:
                feats = self.drop(feats)
        detector = self.modules.detector if stage == sb.Stage.TRAIN else self.averaged
        return detector(feats), step_counts(self.hparams.detector, feats, frame_lens), tokens

    def compute_objectives(self, predictions, batch, stage):
        """Return the loss of CTC, a token's mean; outside training, collect the token errors."""
        log_probs, steps, tokens = predictions
        if stage != sb.Stage.TRAIN:
            self.errors.append(log_probs, steps, tokens)
        counts = torch.tensor([len(item) for item in tokens])
        data = log_probs.transpose(0, 1), torch.cat(tokens), steps, counts
        return ctc_loss(*data, blank=BLANK, reduction="sum", zero_infinity=True) / counts.sum()

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Update the running average of the weights."""
        self.averaged.update_parameters(self.hparams.detector)

    def on_stage_start(self, stage, epoch=None):
        """Set the learning rate of the epoch, and begin without errors."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TRAIN:
            self.set_rate(self.hparams.lr * self.hparams.lr_decay ** (epoch - 1))
        self.errors = reports.TokenErrors()

    def validate(self, stage):
        """Return the rates of wrong tokens and of wrong words."""
        return self.errors.rates(self.tokens)


if __name__ == "__main__":
    hparams, run_opts = training.start()
    sets = training.on_main_first(hparams["prepare"])
    stores = sets.open()
    settings = hparams["num_tokens"], hparams["token_kind"], ALPHABET, hparams["spelling"]
    tokens = train_tokens(stores["train"].keywords, *settings)
    detector = hparams["make_detector"](num_tokens=len(tokens))
    if hparams["start_from"]:
        trained = KeywordDetector.from_hparams(hparams["start_from"])
        trained.check_rate(hparams["sample_rate"])
        tokens = trained.tokens
        detector = hparams["make_detector"](num_tokens=len(tokens))
        training.take_weights(detector, trained.mods.detector, "start_from")
    averaged = training.running_average(detector, hparams["average_decay"])
    hparams["detector"] = hparams["modules"]["detector"] = detector
    for name, module in (("detector", detector), ("averaged", averaged)):
        hparams["checkpointer"].add_recoverable(name, module)

    datasets = {
        split: TranscribedSpeech(store, tokens, hparams["sample_rate"], copies=split == "train")
        for split, store in stores.items()
    }
    loaders = training.loaders_by_length(
        datasets,
        {split: dataset.rows for split, dataset in datasets.items()},
        hparams["batch_size"],
        hparams["seed"],
        hparams["num_workers"],
    )
    brain = DetectorBrain(
        hparams["modules"],
        hparams["opt_class"],
        hparams,
        run_opts,
        hparams["checkpointer"],
        train_batches=loaders["train"].batch_sampler,
    )
    brain.averaged, brain.tokens = averaged.to(brain.device).eval(), tokens
    brain.drop = FeatureAugmenter(hparams["max_frames"], hparams["max_filters"])
    brain.fit(hparams["epoch_counter"], loaders["train"], loaders["valid"])
    reached = brain.evaluate_best(loaders["test"])

    if training.end_distributed():  # the first process continues alone
        facts = {"trained_on": sets.origin, "reached": reached, "seed": hparams["seed"]}
        hparams |= {"tokens": tokens, "threshold": 0.5}
        keys = ["sample_rate", "features", "tokens", "detector", "threshold"]
        pretrained = training.export(
            hparams, keys, {"detector": averaged.module}, facts, KeywordDetector, hparams["half_weights"]
        )
        model, per_hour = KeywordDetector.from_hparams(pretrained), hparams["false_alarms_per_hour"]
        if confusions := reports.confusions_of(model, stores["train"], hparams["confusion_utterances"]):
            model.set_confusions(confusions)
        reports.report(hparams["output_folder"], model, stores["valid"], facts, per_hour)
