"""GE2E with the MultiReader (Wan et al., ICASSP 2018): text-dependent speaker verification on several keywords.

python train.py hparams/multireader.yaml                        # built-in synthetic keywords
python train.py hparams/multireader.yaml --corpus=speech-commands --data_folder=/corpora/commands --keywords="[yes, no]"
"""

import speechtools
from speechtools import training
from speechtools.inference import SpeakerVerification
from speechtools.keyword import data as keyword_data
from speechtools.keyword import evaluation as keyword_evaluation
from speechtools.speaker import dvectors
from speechtools.speaker.augmentation import batch_features
from speechtools.speaker.batches import StepSampler, WholeUtterances
from speechtools.speaker.gathering import gather_dvectors
from speechtools.speaker.multireader import embed_sources
from speechtools.speaker.start import start_from

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import speechbrain as sb
import torch


class KeywordBrain(training.DVectorBrain):
    """Segments with a keyword -> log-mel features -> LSTM -> d-vectors -> Σ α_k L_k over the sources (equation 12)."""

    def compute_forward(self, batch, stage):
        """Return the d-vectors: in training with the speakers of each source, otherwise (segments, emb)."""
        batch = batch.to(self.device)
        if stage != sb.Stage.TRAIN:
            return self.hparams.averaged(self.modules.features(torch.stack(batch.wavs)))
        with torch.no_grad():
            h = self.hparams
            parts = [batch_features(part, self.modules.features, h.augment, h.augment_feats) for part in batch.parts]
            feats = [partials.feats for partials in parts]
        # for each source (speakers * utterances, frames, mels)
        embedded = embed_sources(self.modules.encoder, feats)
        return [
            (dvectors.view(len(part.speakers), -1, dvectors.shape[1]), part.speakers)
            for dvectors, part in zip(embedded, batch.parts, strict=True)
        ]

    def compute_objectives(self, predictions, batch, stage):
        """Return the weighted sum of the losses of the sources; outside training, collect the d-vectors."""
        if stage != sb.Stage.TRAIN:
            self.embedded.append(predictions.float().cpu())
            return torch.zeros(())
        # Utterances are compared with the centroids of their own source, of all processes.
        losses = [self.modules.loss(*gather_dvectors(embedded, speakers)) for embedded, speakers in predictions]
        for name, loss in zip(batch.names, losses, strict=True):
            self.source_losses.setdefault(name, []).append(loss.detach())
        return sum(weight * loss for weight, loss in zip(batch.weights, losses, strict=True))

    def on_stage_start(self, stage, epoch=None):
        """Begin without losses of the sources."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TRAIN:
            self.source_losses = {}

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log the mean loss of each source as well."""
        super().on_stage_end(stage, stage_loss, epoch)
        if stage == sb.Stage.TRAIN:
            means = {name: float(torch.stack(losses).mean()) for name, losses in self.source_losses.items()}
            self.train_stats |= {f"loss_{name}": mean for name, mean in means.items()}

    def validate(self, stage):
        """Return the metrics of all pairs of keywords."""
        split = "test" if stage == sb.Stage.TEST else "valid"
        dvectors = torch.cat(self.embedded)
        self.result = keyword_evaluation.evaluate_pairs(dvectors, self.trials[split])
        words = keyword_evaluation.word_eer(dvectors, self.stores[split], self.hparams.data_seed)
        return self.result.metrics | ({} if words is None else {"word_eer": words})


if __name__ == "__main__":
    hparams, run_opts = training.start()
    sets = training.on_main_first(hparams["prepare"])
    stores = {name: source_sets.open() for name, source_sets in sets.items()}
    first = next(iter(stores))
    main, keywords = stores[first], (hparams["sources"][first].get("options") or {}).get("keywords")
    sources = keyword_data.training_sources(hparams["sources"], stores)
    reader = speechtools.build(
        f"reader/{hparams['reader_name']}", sources=sources, seed=hparams["seed"], **training.rank_and_size()
    )
    steps = StepSampler(hparams["steps_per_epoch"])
    train_loader = training.make_loader(reader, num_workers=hparams["num_workers"], steps=steps)
    whole = {
        split: training.make_loader(WholeUtterances(main[split], hparams["sample_rate"])) for split in ("valid", "test")
    }

    brain = KeywordBrain(
        hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"], train_batches=steps
    )
    brain.stores = main
    brain.trials = {
        split: keyword_evaluation.pair_trials(main[split], hparams["num_enrolment"], hparams["data_seed"], keywords)
        for split in ("valid", "test")
    }
    if hparams["start_from"] and not hparams["checkpointer"].find_checkpoint():  # which fit would recover
        start_from(hparams["start_from"], hparams["features"], hparams["encoder"], hparams["sample_rate"])
        hparams["averaged"].module.load_state_dict(hparams["encoder"].state_dict())
    hparams["averaged"].to(brain.device).eval()
    brain.fit(hparams["epoch_counter"], train_loader, whole["valid"])
    reached, result = brain.evaluate_best(whole["test"]), brain.result
    untrained = brain.result if brain.evaluate_untrained(whole["test"]) else None

    if training.end_distributed():  # the first process continues alone
        facts = {
            "trained_on": " + ".join(sets[source.name].origin for source in sources if source.weight),
            "tested_on": sets[first].origin,
            "reader": hparams["reader_name"],
            "reached": reached,
            "threshold": brain.validated["eer_threshold"],
            "seed": hparams["seed"],
            "probe": dvectors.probe(hparams["features"], hparams["averaged"], hparams["sample_rate"], brain.device),
        }
        if hparams["start_from"]:
            facts["started_from"] = hparams["start_from"]
        keys = ["sample_rate", "features", "segment", "encoder", "threshold", "probe"]
        averaged = {"encoder": hparams["averaged"].module}
        pretrained = training.export(hparams, keys, averaged, facts, SpeakerVerification)
        SpeakerVerification.from_hparams(pretrained)
        keyword_evaluation.report(hparams["output_folder"], result, facts, untrained)
