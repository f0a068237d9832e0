"""Quality-Net (Fu et al., Interspeech 2018): predict the PESQ of noisy speech, frame by frame, without a reference.

python train.py hparams/qnet.yaml                                      # built-in synthetic corpus
python train.py hparams/qnet.yaml --corpus=timit --data_folder=/corpora/TIMIT --noise_folder=/corpora/Nonspeech
"""

import zlib
from dataclasses import asdict
from functools import partial
from pathlib import Path

from speechtools import audio, training
from speechtools.audio.augmentation import add_silence, equalize
from speechtools.audio.frames import frame_counts
from speechtools.audio.recurrent import limit_recurrent_norm
from speechtools.core import metrics
from speechtools.core.rows import read_rows
from speechtools.inference import QualityNet
from speechtools.measures import Scale, find_measure
from speechtools.quality import evaluation
from speechtools.quality import stages as quality_stages
from speechtools.quality.objective import cause_objective, contrast_objective, point_of, rank_objective, start_in_range
from speechtools.quality.outputs import all_outputs, gives_details
from speechtools.quality.rows import QualityRow, cause_targets, draw_utterances

# speechtools comes first, since it explains a torchaudio that does not load.
# isort: split
import numpy as np
import speechbrain as sb
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes


class QualityBrain(training.RecipeBrain):
    """Waveforms -> magnitude spectrogram -> BLSTM -> frame scores -> their mean."""

    epoch_share = 1.0  # share of the prepared training set in an epoch
    ratings = ()  # the second source of training
    further = ()  # measures that are learned besides the score

    def compute_forward(self, batch, stage):
        """Return the outputs of the network, and the relative lengths (batch,) of the frames."""
        return self.outputs(*batch.to(self.device).wav, stage)

    def outputs(self, wavs, lens, stage):
        """Return the same for waveforms (batch, samples) of relative lengths (batch,)."""
        with torch.no_grad(), torch.autocast(wavs.device.type, enabled=False):
            feats = self.modules.features(wavs, lens)
            # (batch, time, input_size)
            if stage == sb.Stage.TRAIN and self.hparams.equalizer_db:
                feats = equalize(
                    feats, self.hparams.equalizer_db, self.hparams.equalizer_db / 2, log1p=self.hparams.log1p
                )
            feats = self.modules.drop_inputs(feats)
        frame_lens = self.hparams.features.frame_lens(lens, wavs.shape[1])
        quality = self.modules.quality if stage == sb.Stage.TRAIN else self.hparams.averaged
        return all_outputs(quality, feats, frame_lens), frame_lens

    def compute_objectives(self, predictions, batch, stage):
        """Return the loss; outside training, collect the scores."""
        (scores, frame_scores, causes, measures), frame_lens = predictions
        if stage != sb.Stage.TRAIN:
            counts = frame_counts(frame_scores, frame_lens).tolist()
            for number, (name, frames, count) in enumerate(zip(batch.id, frame_scores, counts, strict=True)):
                further = {measure: values[number].item() for measure, values in measures.items()}
                self.tested[name] = scores[number].item(), float(frames[:count].var(unbiased=False)), further
        measure = find_measure(self.hparams.scale)
        # In points of PESQ, upwards, as the objective has its constants.
        point = point_of(measure) * (1 if measure.higher_is_better else -1)
        best = measure.maximum if measure.higher_is_better else measure.minimum
        targets = batch.score.to(scores) / point
        loss = self.hparams.objective(scores / point, frame_scores / point, targets, frame_lens, best / point)
        if self.hparams.rank_weight:
            loss = loss + self.hparams.rank_weight * rank_objective(scores / point, targets)
        cause_weight, contrast_weight = self.hparams.cause_weight, self.hparams.contrast_weight
        if causes is not None:
            true, _ = batch.causes
            # (batch, time, causes)
            loss = loss + cause_weight * cause_objective(causes, true)
            loss = loss + contrast_weight * contrast_objective(frame_scores / point, true)
        if self.further:
            loss = loss + self.further.objective(measures, batch.measures.data)
        if stage == sb.Stage.TRAIN and self.ratings:
            # A second source with its own batch, outputs and weight (GE2E paper, section 2.3).
            rated = self.ratings.batch(self.epoch, self.step, **training.rank_and_size()).to(self.device)
            (*_, rating_scores), _ = self.outputs(rated.wavs, rated.lens, stage)
            loss = loss + self.ratings.objective(rating_scores, rated.targets)
        return loss

    def assess(self, wavs, lens):
        """Return the further scores (batch,) of recordings, by measure."""
        with torch.no_grad():
            return self.outputs(wavs.to(self.device), lens.to(self.device), sb.Stage.VALID)[0].measures

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Limit the recurrent weights, then update the running average of the weights."""
        if self.hparams.recurrent_max_norm is not None:
            limit_recurrent_norm(self.hparams.quality, self.hparams.recurrent_max_norm)
        self.hparams.averaged.update_parameters(self.hparams.quality)

    def on_stage_start(self, stage, epoch=None):
        """Set the learning rate of the epoch, and begin without scores."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TRAIN:
            # The rate decays once for as many utterances as the prepared set has.
            self.set_rate(self.hparams.lr * self.hparams.lr_decay ** (self.epoch_share * (epoch - 1)))
            self.epoch = epoch
        self.tested = {}  # score, variance of the frame scores and further scores by utterance

    def validate(self, stage):
        """Return MSE, LCC and SRCC of the scores that the stage collected, and of further measures and ratings."""
        split = "test" if stage == sb.Stage.TEST else "valid"
        rows = [row for row in self.rows[split] if row.ID in self.tested]
        self.test_rows = rows
        self.predicted = [self.tested[row.ID][0] for row in rows]
        self.predicted_measures = [self.tested[row.ID][2] for row in rows]
        self.true = [row.score for row in rows]
        variances = [self.tested[row.ID][1] for row in rows if row.subset == "clean"]
        self.results = evaluation.quality_metrics(self.predicted, self.true, rows, variances)
        reached = metrics.logged_metrics(self.results["overall"])
        weighted_mse = reached["mse"] / point_of(find_measure(self.hparams.scale)) ** 2
        if self.further:
            measures = evaluation.measure_metrics(self.further, self.predicted_measures, rows)
            self.results["measures"] = measures
            reached |= self.further.reached(measures)
            weighted_mse += self.further.weight * reached["measures_mse"]
        if self.ratings:
            reached |= self.ratings.validate(split, self.assess)
            weighted_mse += self.ratings.weight * reached["rating_mse"]
        return reached | ({"weighted_mse": weighted_mse} if self.further or self.ratings else {})


def dataio_prepare(rows, sample_rate, features=None, silence_share=0.0, further=(), from_shards=False):
    """Datasets by split, of waveforms, scores, further measures, and causes of bad quality in frames of ``features``.

    Silence, which changes no score, is put around a share of the training waveforms. With ``from_shards``, the training
    set takes samples of shards.
    """

    @takes("id", "recording", "causes_text", "is_training")
    @provides("wav", "causes")
    def wav_pipeline(name, recording, causes_text, is_training):
        samples, before = audio.read(recording, sample_rate), 0
        rng = np.random.default_rng(zlib.crc32(name.encode()))  # the same in every epoch, and when a run is resumed
        spoken = len(samples)
        if is_training and rng.uniform() < silence_share:
            samples, before = add_silence(samples, rng, sample_rate)
        yield torch.from_numpy(samples)
        times = (features.frame_times(len(samples)) - before) / sample_rate
        yield cause_targets(causes_text, times, spoken / sample_rate)

    def values(row, recording, is_training):
        return {
            "recording": recording,
            "score": row.score,
            "causes_text": row.causes,
            "is_training": is_training,
            **({"measures": further.targets(row)} if further else {}),
        }

    datasets = {
        split: DynamicItemDataset(
            {row.ID: values(row, row.path, split == "train") for row in members},
            dynamic_items=[wav_pipeline],
            output_keys=["id", "wav", "score", *(["causes"] if features else []), *(["measures"] if further else [])],
        )
        for split, members in rows.items()
    }
    if from_shards:
        compute = datasets["train"].pipeline.compute_outputs
        datasets["train"] = training.ShardDataset(
            lambda row, recording: compute({"id": row.ID, **values(row, recording, is_training=True)})
        )
    return datasets


if __name__ == "__main__":
    hparams, run_opts = training.start()
    quality, features, ratings, further = (hparams[key] for key in ("quality", "features", "ratings", "further"))
    shards = hparams["shards"]
    quality_stages.check_equalizer(hparams["equalizer_db"], features)
    if hparams["start_from"]:
        start = QualityNet.from_hparams(hparams["start_from"])
        quality_stages.check_start(start, hparams["sample_rate"], features, quality)
    further.check(quality)
    shards.check(quality)
    ratings.prepare(quality, features.win_length)
    prepare = partial(quality_stages.prepare_sets, hparams, training.earlier_stage, run_opts["device"])
    training.on_main_first(shards.index)
    sets = training.on_main_first(prepare)
    others = f"{ratings.identity} {shards.identity}".strip()
    record = partial(quality_stages.refuse_other_sets, hparams["output_folder"], sets, others)
    training.on_main_first(record)
    rows = {split: read_rows(path, QualityRow, check=True) for split, path in sets.manifests.items()}
    if shards:
        rows["train"] = shards.rows
        shards.compare(rows["test"])
    prepared = len(rows["train"])
    rows["train"] = draw_utterances(rows["train"], hparams["num_train_utterances"], hparams["data_seed"])
    details = features if gives_details(quality) else None
    datasets = dataio_prepare(rows, hparams["sample_rate"], details, hparams["silence_share"], further, bool(shards))
    order = hparams["batch_size"], hparams["seed"]
    batches = None
    if shards:
        shards.keep(rows["train"])
        batches = training.ShardBatchSampler(shards.shards, *order, shards.shuffle_buffer, **training.rank_and_size())
    loaders = training.loaders_by_length(datasets, rows, *order, hparams["num_workers"], batches)
    start_in_range(quality, find_measure(hparams["scale"]), [row.score for row in rows["train"]])
    further.start(quality, rows["train"])
    fit = partial(quality_stages.fit_features, quality, datasets["train"], features, hparams["num_frames"])
    if hasattr(quality, "fit_features"):  # a first stage, which needs no labels
        training.fit_once(quality, Path(hparams["save_folder"]) / "features.ckpt", fit)
    brain = QualityBrain(hparams["modules"], hparams["opt_class"], hparams, run_opts, hparams["checkpointer"])
    if hparams["start_from"]:
        training.take_weights(quality, start.mods.quality, "start_from", optional="measure_outputs.")
        hparams["averaged"].module.load_state_dict(quality.state_dict())
    brain.train_batches = loaders["train"].batch_sampler
    hparams["averaged"].to(brain.device).eval()
    brain.rows, brain.epoch_share = rows, len(rows["train"]) / prepared
    brain.ratings, brain.further = ratings, further
    brain.selection_key = "weighted_mse" if ratings or further else "mse"
    brain.fit(hparams["epoch_counter"], loaders["train"], loaders["valid"])
    reached = brain.evaluate_best(loaders["test"])

    if training.end_distributed():  # the first process continues alone
        scale = Scale.of(hparams["scale"])  # for where the measure is not installed
        facts = {"trained_on": sets.origin, "reached": reached, "measure": asdict(scale)}
        keys = ["sample_rate", "scale", "features", "quality"]
        pretrained = training.export(hparams, keys, {"quality": hparams["averaged"].module}, facts, QualityNet)
        net = QualityNet.from_hparams(pretrained)
        facts |= {"seed": hparams["seed"], "train_utterances": len({row.speech for row in rows["train"]})}
        if ratings:
            facts["ratings"] = ratings.report(net)
        tested = brain.predicted, brain.true, brain.test_rows
        measures = brain.predicted_measures if further else ()
        evaluation.quality_report(hparams["output_folder"], brain.results, *tested, net, facts, measures)
