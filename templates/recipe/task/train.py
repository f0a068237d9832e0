"""my-corpus/my-task: d-vectors for speaker verification by the GE2E loss. A starting point for a recipe of your own.

python train.py hparams/train.yaml                                     # built-in synthetic corpus
python train.py hparams/train.yaml --corpus=folder --data_folder=/corpora/my-voices
"""

from functools import partial
from pathlib import Path

from speechtools import audio, training
from speechtools.inference import SpeakerVerification
from speechtools.speaker import dvectors, evaluation
from speechtools.speaker.batches import SpeakerBatches, StepSampler, WholeUtterances

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import speechbrain as sb
import torch


class SpeakerBrain(training.RecipeBrain):
    """The method: what is computed from a batch, what is minimised, and how good the result is."""

    selection_key = "eer"  # of the metrics that validate returns, the one that chooses the checkpoint (lowest)
    has_valid_loss = False  # the EER validates; True logs the loss that compute_objectives returns in validation

    def on_stage_start(self, stage, epoch=None):
        """Begin without d-vectors."""
        super().on_stage_start(stage, epoch)
        self.embedded = []

    def compute_forward(self, batch, stage):
        """Return d-vectors: in training (speakers, utterances, emb), otherwise (utterances, emb)."""
        batch = batch.to(self.device)
        if stage == sb.Stage.TRAIN:
            embedded = self.modules.encoder(self.modules.features(batch.wavs))
            # (speakers * utterances, emb)
            return embedded.view(len(batch.speakers), -1, embedded.shape[1])
        # Utterances of all lengths: the mean over sliding windows (GE2E paper, section 3.2).
        feats = [self.modules.features(wav.unsqueeze(0))[0] for wav in batch.wavs]
        windows = dvectors.window_dvectors(
            self.modules.encoder, feats, self.hparams.window_frames, self.hparams.window_hop_frames
        )
        return torch.stack([dvectors.utterance_dvector(window) for window in windows])
        # (utterances, emb)

    def compute_objectives(self, predictions, batch, stage):
        """Return the loss of a training batch; collect the d-vectors of other batches."""
        if stage == sb.Stage.TRAIN:
            return self.modules.loss(predictions, batch.speakers)
        self.embedded.append(predictions.float().cpu())
        return torch.zeros(())

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

    samples = hparams["features"].num_samples(hparams["window_frames"])
    batches = SpeakerBatches(
        stores["train"],
        hparams["speakers_per_batch"],
        hparams["utterances_per_speaker"],
        min_samples=samples,
        max_samples=samples,
        seed=hparams["seed"],
        **training.rank_and_size(),
    )
    steps = StepSampler(hparams["steps_per_epoch"])
    valid, test = (
        training.make_loader(WholeUtterances(stores[split], hparams["sample_rate"])) for split in ("valid", "test")
    )

    brain = SpeakerBrain(
        hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"], train_batches=steps
    )
    brain.trials = {split: evaluation.trials_of(stores[split], hparams["num_enrolment"]) for split in ("valid", "test")}
    brain.fit(hparams["epoch_counter"], training.make_loader(batches, steps=steps), valid)
    reached, result = brain.evaluate_best(test), brain.result
    untrained = brain.result if brain.evaluate_untrained(test) else None  # what the corpus gives away without training

    if training.end_distributed():  # the first process continues alone
        # The run leaves a model, three recordings to try it (two of one voice, one of another) and a report.
        run, encoder = Path(hparams["output_folder"]), hparams["encoder"]
        facts = {"trained_on": sets.origin, "reached": reached, "threshold": brain.validated["eer_threshold"]}
        facts["probe"] = dvectors.probe(hparams["features"], encoder, hparams["sample_rate"], brain.device)
        keys = ["sample_rate", "window_frames", "window_hop_frames", "features", "vad", "encoder", "threshold", "probe"]
        folder = training.export(hparams, keys, {"encoder": encoder}, facts, SpeakerVerification)
        SpeakerVerification.from_hparams(folder)
        for name, number in {"one": 0, "same": 1, "other": len(stores["test"]) - 1}.items():
            audio.write(run / "examples" / f"{name}.wav", stores["test"].read(number) / 32768, hparams["sample_rate"])
        evaluation.report(run, {"main": result}, facts, untrained and {"main": untrained})
