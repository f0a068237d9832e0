"""Generalized end-to-end loss (Wan et al., ICASSP 2018): d-vectors for text-independent speaker verification.

python train.py hparams/ge2e.yaml                                      # built-in synthetic corpus
python train.py hparams/ge2e.yaml --corpus=librispeech --data_folder=/corpora/LibriSpeech --device=cuda
"""

from functools import partial

import speechtools
from speechtools import training
from speechtools.inference import QualityNet, SpeakerVerification
from speechtools.speaker import dvectors, evaluation, teacher
from speechtools.speaker.augmentation import batch_features, num_voices, voice_speed
from speechtools.speaker.batches import StepSampler, WholeUtterances
from speechtools.speaker.gathering import gather_dvectors
from speechtools.speaker.multireader import embed_sources
from speechtools.speaker.proxies import ProxyLoss
from speechtools.speaker.sources import training_sources
from speechtools.speaker.start import start_from

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import speechbrain as sb
import torch
from torch.utils.data import ConcatDataset


class SpeakerBrain(training.DVectorBrain):
    """Partial utterances -> log-mel features -> LSTM -> d-vectors -> Σ α_k L_k over the sources (equation 12)."""

    def compute_forward(self, batch, stage):
        """Return the d-vectors: in training of each source, with its partial utterances; otherwise of whole ones."""
        batch = batch.to(self.device)
        if stage != sb.Stage.TRAIN:
            return self.whole_utterances(batch)
        h = self.hparams
        with torch.no_grad():
            parts = [batch_features(part, self.modules.features, h.augment, h.augment_feats) for part in batch.parts]
        # for each source, features (speakers * utterances, frames, mels)
        return embed_sources(self.modules.encoder, [part.feats for part in parts]), parts

    def whole_utterances(self, batch):
        """Return the mean of the d-vectors of sliding windows of each utterance (section 3.2)."""
        feats = [self.modules.features(wav.unsqueeze(0))[0] for wav in batch.wavs]
        windows = dvectors.window_dvectors(
            self.hparams.averaged, feats, self.hparams.window_frames, self.hparams.window_hop_frames
        )
        return torch.stack([dvectors.utterance_dvector(window) for window in windows])

    def compute_objectives(self, predictions, batch, stage):
        """Return the weighted sum of the losses of the sources; outside training, collect the d-vectors."""
        if stage != sb.Stage.TRAIN:
            self.embedded.append(predictions.float().cpu())
            return torch.zeros(())  # the EER validates; unlike the loss, it does not depend on N and M
        losses, h, modules = [], self.hparams, self.modules
        for name, embedded, part, source in zip(batch.names, *predictions, batch.parts, strict=True):
            speakers = source.speakers.to(self.device)
            by_speaker = embedded.view(len(speakers), -1, embedded.shape[1])
            # (speakers, utterances, emb); they are compared with the centroids of their own source, of all processes
            loss = modules.loss(*gather_dvectors(by_speaker, speakers))
            if part.targets is not None:
                loss = loss + h.teacher_weight * modules.teacher_loss(embedded, part.targets)
            if h.proxy_weight:
                number = self.source_names.index(name)
                loss = loss + h.proxy_weight * modules.proxies(embedded, number, speakers, part.voices)
            losses.append(loss)
        return sum(weight * loss for weight, loss in zip(batch.weights, losses, strict=True))

    def validate(self, stage):
        """Return the means over the sources of EER, minDCF and threshold, and the EER of each."""
        split = "test" if stage == sb.Stage.TEST else "valid"
        self.results = evaluation.evaluate_sources(torch.cat(self.embedded), self.trials[split])
        return evaluation.mean_metrics(self.results)


if __name__ == "__main__":
    hparams, run_opts = training.start()
    ranks = training.rank_and_size()
    sets = training.on_main_first(partial(hparams["prepare"], world_size=ranks["world_size"]))
    stores = {name: source_sets.open() for name, source_sets in sets.items()}
    features, encoder, speed = hparams["features"], hparams["encoder"], voice_speed(hparams["augment"])
    if hparams["teacher"]:
        trained = teacher.load_teacher(hparams["teacher"], hparams["sample_rate"], run_opts["device"])
        precision = hparams.get("precision", "fp32")
        training.on_main_first(
            lambda: [teacher.add_targets(trained, s["train"], speed, precision) for s in stores.values()]
        )
        teacher_loss = teacher.TeacherLoss(encoder.embedding_size, trained.embedding_size)
        hparams["modules"]["teacher_loss"] = teacher_loss
        hparams["checkpointer"].add_recoverable("teacher_loss", teacher_loss)

    frames = hparams["min_frames"], hparams["max_frames"]
    sources = training_sources(hparams["sources"], stores, features, *frames, hparams["degraded_share"])
    if hparams["teacher"]:
        for source in sources:
            source.store.targets = teacher.training_targets(source.store, hparams["teacher_speaker_share"])
    reader = speechtools.build(f"reader/{hparams['reader_name']}", sources=sources, seed=hparams["seed"], **ranks)
    steps = StepSampler(hparams["steps_per_epoch"])
    train_loader = training.make_loader(reader, num_workers=hparams["num_workers"], steps=steps)
    tested = {split: {name: s[split] for name, s in stores.items() if split in s} for split in ("valid", "test")}
    whole = {
        split: training.make_loader(
            ConcatDataset([WholeUtterances(store, hparams["sample_rate"]) for store in of_split.values()])
        )
        for split, of_split in tested.items()
    }
    proxies = None
    if hparams["proxy_weight"]:
        num_speakers = [len(source.store.speakers) for source in reader.sources]
        proxies = ProxyLoss(encoder.embedding_size, num_speakers, num_voices(speed), **hparams["proxy_options"])
        hparams["modules"]["proxies"] = proxies
        hparams["checkpointer"].add_recoverable("proxies", proxies)
    if hasattr(hparams["loss"], "set_speakers"):
        hparams["loss"].set_speakers(len(stores[sources[0].name]["train"].speakers), encoder.embedding_size)

    brain = SpeakerBrain(
        hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"], train_batches=steps
    )
    if proxies:
        brain.source_names = [source.name for source in reader.sources]
    draws = hparams["num_enrolment"], hparams["data_seed"]
    brain.trials = {
        split: {
            name: evaluation.trials_of(store, *draws, published, hparams["max_nontargets"])
            for name, store in tested[split].items()
        }
        for split, published in (("valid", None), ("test", hparams["trials"]))
    }
    if hparams["start_from"] and not hparams["checkpointer"].find_checkpoint():  # which fit would recover
        start_from(hparams["start_from"], features, encoder, hparams["sample_rate"])
        if proxies:
            proxies.start_at_centroids(encoder, features, reader.sources, speed, hparams["sample_rate"])
        hparams["averaged"].module.load_state_dict(encoder.state_dict())
    hparams["averaged"].to(brain.device).eval()
    brain.fit(hparams["epoch_counter"], train_loader, whole["valid"])
    reached, results = brain.evaluate_best(whole["test"]), brain.results
    untrained = brain.results if brain.evaluate_untrained(whole["test"]) else None
    threshold = brain.validated["eer_threshold"]  # of speakers that are neither in training nor in the test

    if training.end_distributed():  # the first process continues alone
        origin = " + ".join(source_sets.origin for source_sets in sets.values())
        facts = {"trained_on": origin, "reached": reached, "threshold": threshold, "seed": hparams["seed"]}
        facts["num_enrolment"] = hparams["num_enrolment"]
        options = {"started_from": hparams["start_from"], "teacher": hparams["teacher"]}
        facts |= {key: value for key, value in options.items() if value}
        facts["probe"] = dvectors.probe(features, hparams["averaged"], hparams["sample_rate"], brain.device)
        keys = ["sample_rate", "window_frames", "window_hop_frames", "features", "vad", "encoder", "threshold", "probe"]
        averaged = {"encoder": hparams["averaged"].module}
        pretrained = training.export(hparams, keys, averaged, facts, SpeakerVerification, hparams["half_weights"])
        verifier = SpeakerVerification.from_hparams(pretrained)
        if hparams["calibrate"]:
            quality = QualityNet.from_hparams(hparams["quality"]) if hparams["quality"] else None
            verifier.facts["calibration"] = hparams["fit_scoring"](verifier, stores, quality=quality)
            verifier.save(pretrained)
            results = evaluation.with_calibration(results, verifier, tested["test"], quality)
        evaluation.report(hparams["output_folder"], results, facts, untrained)
