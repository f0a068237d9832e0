"""The training loop that recipes share."""

from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.training import DVectorBrain, RecipeBrain, epoch_counter, running_average, take_weights


class ToyBrain(DVectorBrain):
    """A line that learns a slope; it records the learning rate and the weight after every step."""

    def compute_forward(self, batch, stage):
        return self.modules.encoder(batch)

    def compute_objectives(self, predictions, batch, stage):
        return (predictions - batch).square().mean()

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        super().on_fit_batch_end(batch, outputs, loss, should_step)
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.weights.append(self.modules.encoder.weight.item())


def train(halve_every, decay=0.0, epochs=3):
    encoder = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(encoder.weight)
    hparams = {"lr": 0.1, "halve_every": halve_every, "encoder": encoder, "average_decay": decay}
    hparams["averaged"] = running_average(encoder, decay)
    run_opts = {"device": "cpu", "noprogressbar": True}
    brain = ToyBrain({"encoder": encoder}, lambda parameters: torch.optim.SGD(parameters, lr=0.1), hparams, run_opts)
    brain.rates, brain.weights = [], []
    brain.fit(epoch_counter(epochs, 0), [torch.ones(1, 1)] * 4)
    return SimpleNamespace(rates=brain.rates, weights=brain.weights, averaged=hparams["averaged"].module)


def test_the_learning_rate_is_halved_across_epochs_and_takes_effect():
    run = train(halve_every=5)
    assert run.rates == pytest.approx([0.1] * 5 + [0.05] * 5 + [0.025] * 2)
    # A step of gradient descent on (w - 1)² shortens the distance by the factor 1 - 2 lr.
    distance = 1.0
    for rate, weight in zip(run.rates, run.weights, strict=True):
        distance *= 1 - 2 * rate
        assert weight == pytest.approx(1 - distance, rel=1e-5)


class LoggedBrain(RecipeBrain):
    """Logs one epoch of known losses."""

    def validate(self, stage):
        return {"mse": 0.5}


@pytest.mark.parametrize("has_valid_loss", [True, False])
def test_the_log_has_the_total_time_and_a_validation_loss_only_if_there_is_one(monkeypatch, has_valid_loss):
    lines, values = [], {}
    hparams = {"train_logger": SimpleNamespace(log_stats=lambda *_, **stats: lines.append(stats)), "epoch_counter": 0}
    saver = SimpleNamespace(save_and_keep_only=lambda **_: None, add_recoverable=lambda *_: None)
    net = torch.nn.Linear(1, 1)
    options = {"device": "cpu"}
    brain = LoggedBrain({"net": net}, lambda weights: torch.optim.SGD(weights, lr=0.1), hparams, options, saver)
    monkeypatch.setattr(brain, "_tensorboard", lambda epoch, more: values.update(more))
    monkeypatch.setattr(LoggedBrain, "has_valid_loss", has_valid_loss)
    brain.init_optimizers()
    for stage, loss in ((sb.Stage.TRAIN, 2.0), (sb.Stage.VALID, 1.0)):
        brain.on_stage_start(stage, 1)
        brain.on_stage_end(stage, loss, 1)
    assert lines[0]["train_stats"].keys() == {"loss", "total seconds"}
    assert lines[0]["valid_stats"] == ({"loss": 1.0} if has_valid_loss else {}) | {"mse": 0.5}
    assert ("loss/valid" in values) == has_valid_loss and values["loss/train"] == 2.0


def test_a_selection_key_that_validate_does_not_return_is_named(monkeypatch):
    net = torch.nn.Linear(1, 1)
    brain = LoggedBrain({"net": net}, lambda weights: torch.optim.SGD(weights, lr=0.1), {}, {"device": "cpu"})
    monkeypatch.setattr(LoggedBrain, "selection_key", "error")
    for stage in (sb.Stage.VALID, sb.Stage.TEST):
        with pytest.raises(SpeechtoolsError, match="returns mse; selection_key is 'error'"):
            brain.on_stage_end(stage, 1.0, 1)


def test_the_running_average_follows_the_weights():
    assert train(100).averaged.weight.item() == pytest.approx(train(100).weights[-1])
    slow = train(100, decay=0.9)
    average = slow.weights[0]
    for weight in slow.weights[1:]:
        average = 0.9 * average + 0.1 * weight
    assert slow.averaged.weight.item() == pytest.approx(average, rel=1e-5)


@pytest.mark.parametrize("decay, warned", [(0.99, True), (0.5, False), (0.0, False)])
def test_a_running_average_slower_than_the_training_is_a_warning(caplog, decay, warned):
    train(100, decay=decay)  # 12 steps
    assert ("average_decay=0.99" in caplog.text) == warned


def test_optional_weights_that_one_model_lacks_keep_their_values_or_are_left_out(caplog):
    def model(*names):
        return torch.nn.ModuleDict({name: torch.nn.Linear(1, 1) for name in names})

    own, trained = model("body", "further_mos"), model("body", "further_stoi")
    before = own["further_mos"].weight.item()
    with caplog.at_level("INFO"):
        take_weights(own, trained, "start_from", optional="further_")
    assert own["body"].weight.item() == trained["body"].weight.item() and own["further_mos"].weight.item() == before
    assert "further_mos.bias keep their initial values" in caplog.text
    assert "further_stoi.bias of the trained model are left out" in caplog.text
    with pytest.raises(ConfigError, match="start_from names does not fit"):
        take_weights(own, trained, "start_from")
