"""Generalized end-to-end loss (Wan et al., ICASSP 2018): d-vectors for text-independent speaker verification.

python train.py hparams/ge2e.yaml                                      # built-in synthetic corpus
python train.py hparams/ge2e.yaml --corpus=librispeech --data_folder=/corpora/LibriSpeech --device=cuda
"""

from functools import partial

from speechtools import training
from speechtools.inference import SpeakerVerification
from speechtools.speaker import dvectors, evaluation
from speechtools.speaker.batches import SpeakerBatches, StepSampler, WholeUtterances
from speechtools.speaker.gathering import gather_dvectors
from speechtools.speaker.start import start_from

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import speechbrain as sb
import torch


class SpeakerBrain(training.DVectorBrain):
    """Partial utterances -> log-mel features -> LSTM -> d-vectors -> GE2E loss over N speakers x M utterances."""

    def compute_forward(self, batch, stage):
        """Return the d-vectors and the speakers of a batch of partial or, outside training, whole utterances."""
        batch = batch.to(self.device)
        if stage != sb.Stage.TRAIN:
            return self.whole_utterances(batch)
        wavs, speakers = batch.wavs, batch.speakers
        # (speakers * utterances, samples)
        with torch.no_grad():
            if self.hparams.augment:
                wavs = self.hparams.augment(wavs, len(wavs) // len(speakers))
            feats = self.modules.features(wavs)
            # (speakers * utterances, frames, mels)
            if self.hparams.augment_feats:
                feats = self.hparams.augment_feats(feats)
        embedded = self.modules.encoder(feats)
        # (speakers * utterances, emb)
        return embedded.view(len(speakers), -1, embedded.shape[1]), speakers

    def whole_utterances(self, batch):
        """Return the mean of the d-vectors of sliding windows of each utterance (section 3.2)."""
        feats = [self.modules.features(wav.unsqueeze(0))[0] for wav in batch.wavs]
        windows = dvectors.window_dvectors(
            self.hparams.averaged, feats, self.hparams.window_frames, self.hparams.window_hop_frames
        )
        return torch.stack([dvectors.utterance_dvector(window) for window in windows]), batch.speakers

    def compute_objectives(self, predictions, batch, stage):
        """Return the loss of a training batch; collect the d-vectors of other batches."""
        embedded, speakers = predictions
        if stage != sb.Stage.TRAIN:
            self.embedded.append(embedded.float().cpu())
            return torch.zeros(())  # the EER validates; unlike the loss, it does not depend on N and M
        # Utterances are compared with the centroids of all processes.
        return self.modules.loss(*gather_dvectors(embedded, speakers))

    def validate(self, stage):
        """Return the EER, the minDCF and the threshold of the trials of the stage."""
        split = "test" if stage == sb.Stage.TEST else "valid"
        self.result = evaluation.evaluate(torch.cat(self.embedded), self.trials[split])
        return {key: self.result.metrics[key] for key in ("eer", "min_dcf", "eer_threshold")}


if __name__ == "__main__":
    hparams, run_opts = training.start()
    num_speakers = hparams["speakers_per_batch"] * training.rank_and_size()["world_size"]
    sets = training.on_main_first(partial(hparams["prepare"], num_train_speakers=num_speakers))
    stores = sets.open()

    features = hparams["features"]
    batches = SpeakerBatches(
        stores["train"],
        hparams["speakers_per_batch"],
        hparams["utterances_per_speaker"],
        min_samples=features.num_samples(hparams["min_frames"]),
        max_samples=features.num_samples(hparams["max_frames"]),
        step_samples=features.hop_length,
        seed=hparams["seed"],
        **training.rank_and_size(),
    )
    steps = StepSampler(hparams["steps_per_epoch"])
    train_loader = training.make_loader(batches, num_workers=hparams["num_workers"], steps=steps)
    whole = {
        split: training.make_loader(WholeUtterances(stores[split], hparams["sample_rate"]))
        for split in ("valid", "test")
    }
    if hasattr(hparams["loss"], "set_speakers"):
        hparams["loss"].set_speakers(len(stores["train"].speakers), hparams["encoder"].embedding_size)

    brain = SpeakerBrain(
        hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"], train_batches=steps
    )
    brain.trials = {
        split: evaluation.trials_of(
            stores[split], hparams["num_enrolment"], hparams["data_seed"], published, hparams["max_nontargets"]
        )
        for split, published in (("valid", None), ("test", hparams["trials"]))
    }
    if hparams["start_from"]:
        start_from(hparams["start_from"], features, hparams["encoder"], hparams["sample_rate"])
        hparams["averaged"].module.load_state_dict(hparams["encoder"].state_dict())
    hparams["averaged"].to(brain.device).eval()
    brain.fit(hparams["epoch_counter"], train_loader, whole["valid"])
    reached = brain.evaluate_best(whole["test"])
    threshold = brain.validated["eer_threshold"]  # of speakers that are neither in training nor in the test

    if training.end_distributed():  # the first process continues alone
        facts = {"trained_on": sets.origin, "reached": reached, "threshold": threshold, "seed": hparams["seed"]}
        if hparams["start_from"]:
            facts["started_from"] = hparams["start_from"]
        facts["probe"] = dvectors.probe(features, hparams["averaged"], hparams["sample_rate"], brain.device)
        keys = ["sample_rate", "window_frames", "window_hop_frames", "features", "vad", "encoder", "threshold", "probe"]
        averaged = {"encoder": hparams["averaged"].module}
        pretrained = training.export(hparams, keys, averaged, facts, SpeakerVerification)
        SpeakerVerification.from_hparams(pretrained)
        evaluation.report(hparams["output_folder"], brain.result, facts)
