"""Speech enhancement by a BLSTM that estimates masks, as in the Quality-Net paper (section 3.1).

python train.py hparams/blstm.yaml                                     # built-in synthetic corpus
python train.py hparams/blstm.yaml --corpus=timit --data_folder=/corpora/TIMIT --noise_folder=/corpora/Nonspeech
"""

from speechtools import training
from speechtools.core.errors import ConfigError
from speechtools.core.rows import read_rows
from speechtools.corpora.mixtures import mix
from speechtools.enhancement import evaluation as enhancement_evaluation
from speechtools.enhancement.data import ROW_MODELS
from speechtools.inference import QualityNet, SpeechEnhancer
from speechtools.measures import find_measure

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import speechbrain as sb
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes


class EnhancementBrain(training.RecipeBrain):
    """Noisy waveforms -> magnitudes -> BLSTM -> masks -> error of the masked spectrum."""

    selection_key = "error"
    quality_net = None  # of the perceptual loss, if it has a weight

    def compute_forward(self, batch, stage):
        """Return the masks and the noisy spectrum, each (batch, time, bins), and the relative lengths (batch,)."""
        batch = batch.to(self.device)
        wavs, lens = batch.noisy
        if stage == sb.Stage.TRAIN:
            wavs = self.hparams.other_noise(wavs, batch.clean.data, lens)
        noisy = self.hparams.spectrum(wavs, lens)
        # (batch, time, bins)
        frame_lens = self.hparams.spectrum.frame_lens(lens, wavs.shape[1])
        enhancer = self.modules.enhancer if stage == sb.Stage.TRAIN else self.hparams.averaged
        return enhancer(noisy.abs(), frame_lens), noisy, frame_lens

    def compute_objectives(self, predictions, batch, stage):
        """Return the error of the masked spectrum, plus the weighted perceptual loss if there is one."""
        masks, noisy, frame_lens = predictions
        wavs, lens = batch.clean
        clean = self.hparams.spectrum(wavs, lens)
        loss = self.hparams.objective(masks, clean, noisy, frame_lens)
        if self.hparams.quality_weight:
            # The distance of the score by a frozen Quality-Net to the maximum of its scale.
            enhanced = self.hparams.spectrum.inverse(masks * noisy, wavs.shape[1])
            scores, _ = self.quality_net.assess_batch(enhanced, lens)
            missing = torch.relu(find_measure(self.quality_net.scale).maximum - scores)
            loss = loss + self.hparams.quality_weight * missing.mean()
        if stage != sb.Stage.TRAIN:
            self.errors += [float(loss)] * len(batch)
        return loss

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Update the running average of the weights."""
        self.hparams.averaged.update_parameters(self.hparams.enhancer)

    def on_stage_start(self, stage, epoch=None):
        """Set the learning rate of the epoch, and begin without errors."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TRAIN:
            self.set_rate(self.hparams.lr * self.hparams.lr_decay ** (epoch - 1))
        self.errors = []

    def validate(self, stage):
        """Return the mean error of the stage."""
        return {"error": sum(self.errors) / len(self.errors)}


def dataio_prepare(rows, sample_rate):
    """Datasets by split, of noisy waveforms and their clean speech, mixed when they are read."""

    @takes("mixture")
    @provides("noisy", "clean")
    def wav_pipeline(mixture):
        for samples in mix(mixture, sample_rate):
            yield torch.from_numpy(samples)

    return {
        split: DynamicItemDataset(
            {row.ID: {"mixture": row.mixture()} for row in members},
            dynamic_items=[wav_pipeline],
            output_keys=["id", "noisy", "clean"],
        )
        for split, members in rows.items()
    }


if __name__ == "__main__":
    hparams, run_opts = training.start()
    if hparams["quality_weight"] and not hparams["start_from"]:
        raise ConfigError(
            f"quality_weight={hparams['quality_weight']} fine-tunes a trained enhancer, and start_from names none. "
            "Add --start_from=…/pretrained."
        )
    brain = EnhancementBrain(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    for module in (hparams["averaged"].eval(), hparams["spectrum"]):
        module.to(brain.device)
    models, on_device = {}, {"device": str(brain.device)}
    if hparams["start_from"]:
        models["start"] = SpeechEnhancer.from_hparams(hparams["start_from"], run_opts=on_device)
        models["start"].check_matches(hparams["sample_rate"], hparams["spectrum"])
        for module in (hparams["enhancer"], hparams["averaged"].module):
            training.take_weights(module, models["start"].mods.enhancer, "start_from")
    if hparams["quality_weight"]:
        brain.quality_net = QualityNet.from_hparams(hparams["quality_model"], run_opts=on_device)
        brain.quality_net.check_rate(hparams["sample_rate"])
    sets = training.on_main_first(hparams["prepare"])
    rows = {split: read_rows(path, ROW_MODELS[split], check=True) for split, path in sets.manifests.items()}
    datasets = dataio_prepare(rows, hparams["sample_rate"])
    loaders = training.loaders_by_length(datasets, rows, hparams["batch_size"], hparams["seed"], hparams["num_workers"])
    brain.train_batches = loaders["train"].batch_sampler
    brain.fit(hparams["epoch_counter"], loaders["train"], loaders["valid"])
    reached = brain.evaluate_best(loaders["test"])

    if training.end_distributed():  # the first process continues alone
        facts = {"trained_on": sets.origin, "reached": reached}
        heard = {"heard": hparams["sources"].heard(rows["train"] + rows["valid"])}
        keys, averaged = ["sample_rate", "n_fft", "hop_length", "enhancer"], {"enhancer": hparams["averaged"].module}
        pretrained = training.export(hparams, keys, averaged, facts | heard, SpeechEnhancer)
        models["enhanced"] = SpeechEnhancer.from_hparams(pretrained, run_opts=on_device)
        facts |= {"seed": hparams["seed"]}
        enhancement_evaluation.enhancement_report(
            hparams["output_folder"], rows["test"], models, facts, scale=hparams["scale"], quality_net=brain.quality_net
        )
