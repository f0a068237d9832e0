"""The two-stage baseline: a subband autoencoder, trained first, and a network on its features."""

import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.quality.autoencoder import AutoencoderNN, mel_bands
from speechtools.quality.objective import quality_objective

SMALL = {"input_size": 33, "num_bands": 8, "features_per_band": 1, "decoder_size": 16, "context": 2, "nn_size": 12}


def structured_frames(count: int = 600, input_size: int = 33) -> torch.Tensor:
    """Return magnitudes of smooth spectra with four degrees of freedom."""
    generator = torch.Generator().manual_seed(0)
    shapes = torch.stack([torch.cos(k * torch.linspace(0, torch.pi, input_size)) for k in range(4)])
    return (torch.randn(count, 4, generator=generator) @ shapes).exp()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return AutoencoderNN(**SMALL)


@pytest.fixture
def fitted(net):
    net.fit_features(structured_frames(), epochs=2, lr=0.01)
    return net


@pytest.fixture
def batch():
    return structured_frames(3 * 20).view(3, 20, 33), torch.tensor([1.0, 0.55, 0.05])


@pytest.mark.parametrize(("num_bands", "input_size"), [(40, 257), (1, 257), (128, 257), (12, 5)])
def test_bands_cover_all_bins_and_none_is_empty(num_bands, input_size):
    bands = mel_bands(num_bands, input_size)
    assert bands.shape == (num_bands, input_size)
    assert bands.any(dim=0).all() and bands.any(dim=1).all()


def test_bands_are_contiguous_ordered_overlapping_and_widening():
    bands = mel_bands(40, 257)
    first = bands.int().argmax(dim=1)
    widths = bands.sum(dim=1)
    last = first + widths - 1
    assert all(band[low : high + 1].all() for band, low, high in zip(bands, first, last, strict=True))
    assert (first.diff() >= 0).all() and (last.diff() >= 0).all()
    assert (bands[:-1] & bands[1:]).any(dim=1).all()
    assert widths[-1] > 4 * widths[0]


def test_a_feature_depends_on_its_band_only():
    torch.manual_seed(0)
    net = AutoencoderNN(**SMALL | {"features_per_band": 2})
    bands = mel_bands(8, 33)
    frame = structured_frames(1)[0]
    before = net.autoencoder.encode(frame)
    for bin_number in range(33):
        louder = frame.clone()
        louder[bin_number] *= 3
        changed = (net.autoencoder.encode(louder) != before).view(8, 2)
        assert changed[bands[:, bin_number]].all()
        assert not changed[~bands[:, bin_number]].any()


def test_fit_features_beats_the_mean_spectrum(net):
    frames = structured_frames()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        errors = net.fit_features(frames, epochs=8, batch_size=32, lr=0.01)
    assert len(errors) == 8
    assert errors[-1] < 0.5 * errors[0]
    logs = torch.log(frames + net.autoencoder.floor)
    reconstructed = net.autoencoder(frames) * net.autoencoder.std + net.autoencoder.mean
    error = ((reconstructed - logs) / logs.std(dim=0)).square().mean()
    error_of_mean = ((logs.mean(dim=0) - logs) / logs.std(dim=0)).square().mean()
    assert error < 0.2 * error_of_mean
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("autoencoder."), name


def test_standardised_training_frames_have_mean_0_and_variance_1(fitted):
    standard = fitted.autoencoder.standardise(structured_frames())
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(33), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.std(dim=0, unbiased=False), torch.ones(33), atol=1e-4, rtol=0)


def test_a_constant_bin_stays_finite(net):
    frames = structured_frames()
    frames[:, 7] = 0.0
    errors = net.fit_features(frames, epochs=1)
    assert torch.tensor(errors).isfinite().all()
    assert all(value.isfinite().all() for value in net(frames.unsqueeze(0)))


def test_only_the_seed_decides_and_the_global_random_state_is_kept():
    frames, states = structured_frames(), []
    for caller_seed, seed in ((1, 5), (2, 5), (2, 6)):
        torch.manual_seed(caller_seed)
        net = AutoencoderNN(**SMALL)
        before = torch.get_rng_state()
        net.fit_features(frames, epochs=1, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        states.append(net.autoencoder.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["encoder.weight"], states[2]["encoder.weight"])


def test_fitting_again_starts_anew(fitted):
    first = {name: value.clone() for name, value in fitted.autoencoder.state_dict().items()}
    fitted.fit_features(structured_frames(), epochs=2, lr=0.01)
    for name, value in fitted.autoencoder.state_dict().items():
        assert torch.equal(value, first[name]), name


def test_stage_2_keeps_the_autoencoder(fitted, batch):
    feats, lens = batch
    before = {name: value.clone() for name, value in fitted.state_dict().items()}
    assert not any(parameter.requires_grad for parameter in fitted.autoencoder.parameters())
    optimizer = torch.optim.AdamW(fitted.parameters(), lr=0.01, weight_decay=0.1)
    target, losses = torch.tensor([4.0, 2.0, 1.0]), []
    for _ in range(30):
        loss = quality_objective(*fitted(feats, lens), target, lens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    for name, value in fitted.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("autoencoder."), name


def test_gradients_pass_the_frozen_features(fitted, batch):
    feats, lens = batch
    feats[1, 11:] = float("nan")  # the padding
    feats.requires_grad_()
    fitted(feats, lens)[0].sum().backward()
    assert feats.grad[:, 0].abs().amin() > 0
    assert not feats.grad[1, 11:].any()


@pytest.mark.parametrize("padding", [1e6, float("nan")])
def test_padding_changes_no_score(fitted, batch, padding):
    feats, lens = batch
    spoiled = feats.clone()
    spoiled[1, 11:], spoiled[2, 1:] = padding, padding
    for one, other in zip(fitted(spoiled, lens), fitted(feats, lens), strict=True):
        assert torch.equal(one, other)
    alone, frames_alone = fitted(feats[1:2, :11])
    together, frames_together = fitted(spoiled, lens)
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(frames_together[1:2, :11], frames_alone, atol=1e-5, rtol=0)
    assert not frames_together[1, 11:].any()


def test_a_frame_score_depends_on_its_context_only(fitted):
    feats = structured_frames(20).unsqueeze(0)
    changed = feats.clone()
    changed[0, 10] *= 10
    differs = fitted(feats)[1][0] != fitted(changed)[1][0]
    assert differs.nonzero().flatten().tolist() == [8, 9, 10, 11, 12]


def test_a_new_network_scores_near_the_initial_score(batch):
    torch.manual_seed(0)
    scores, _ = AutoencoderNN(**SMALL, initial_score=4.0)(*batch)
    assert (scores - 4.0).abs().max() < 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
def test_invalid_magnitudes_are_refused_with_their_frame(fitted, value):
    before = {name: value.clone() for name, value in fitted.state_dict().items()}
    frames = structured_frames()
    frames[123, 4] = value
    with pytest.raises(ConfigError, match=f"{value} in frame 123"):
        fitted.fit_features(frames)
    assert all(torch.equal(value, before[name]) for name, value in fitted.state_dict().items())


@pytest.mark.parametrize("shape", [(600, 32), (33,), (3, 200, 33), (0, 33), (7, 33)])
def test_frames_of_another_shape_are_refused(net, shape):
    with pytest.raises(ConfigError, match=r"\(frames, 33\)|at least 8 frames"):
        net.fit_features(torch.rand(shape))


@pytest.mark.parametrize(("option", "value"), [("epochs", 0), ("batch_size", 0), ("lr", 0.0), ("lr", float("nan"))])
def test_invalid_training_options_are_refused(net, option, value):
    with pytest.raises(ConfigError, match=f"{option}={value}"):
        net.fit_features(structured_frames(), **{option: value})


@pytest.mark.parametrize(("option", "value"), [("num_bands", 0), ("nn_size", -1), ("context", -1), ("floor", 0.0)])
def test_invalid_options_are_refused(option, value):
    with pytest.raises(ConfigError, match=f"{option}={value}"):
        AutoencoderNN(**{option: value})
