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


@pytest.mark.parametrize(("num_bands", "input_size"), [(40, 257), (1, 257), (128, 257), (12, 5)])
def test_bands_are_contiguous_overlap_and_cover_all_bins(num_bands, input_size):
    bands = mel_bands(num_bands, input_size)
    assert bands.shape == (num_bands, input_size)
    assert bands.any(dim=0).all() and bands.any(dim=1).all()
    first, widths = bands.int().argmax(dim=1), bands.sum(dim=1)
    last = first + widths - 1
    assert all(band[low : high + 1].all() for band, low, high in zip(bands, first, last, strict=True))
    assert (first.diff() >= 0).all() and (last.diff() >= 0).all()
    if num_bands == 40:
        assert (bands[:-1] & bands[1:]).any(dim=1).all() and widths[-1] > 4 * widths[0]


def test_a_feature_depends_on_its_band_only():
    torch.manual_seed(0)
    net = AutoencoderNN(**SMALL | {"features_per_band": 2})
    frame = structured_frames(1)[0]
    louder = frame.repeat(33, 1) * (1 + 2 * torch.eye(33))  # one bin each
    changed = (net.autoencoder.encode(louder) - net.autoencoder.encode(frame)).abs() > 1e-6
    assert torch.equal(changed.view(33, 8, 2), mel_bands(8, 33).T.unsqueeze(2).expand(33, 8, 2))


def test_fit_features_beats_the_mean_spectrum_and_changes_the_autoencoder_alone(net):
    frames = structured_frames()
    frames[:, 7] = 0.0  # a constant bin is not scaled
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        errors = net.fit_features(frames, epochs=8, batch_size=32, lr=0.01)
    assert len(errors) == 8 and errors[-1] < 0.5 * errors[0]
    standard = net.autoencoder.standardise(frames)
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(33), atol=1e-4, rtol=0)
    expected = torch.ones(33).index_fill(0, torch.tensor([7]), 0.0)
    torch.testing.assert_close(standard.std(dim=0, unbiased=False), expected, atol=1e-4, rtol=0)
    assert (net.autoencoder(frames) - standard).square().mean() < 0.2
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("autoencoder."), name


def test_only_the_seed_decides_and_the_global_random_state_is_kept():
    frames, states = structured_frames(), []
    for caller_seed, seed in ((1, 5), (2, 5), (2, 6)):
        torch.manual_seed(caller_seed)
        net = AutoencoderNN(**SMALL)
        before = torch.get_rng_state()
        for _ in range(2):  # fitting again starts anew
            net.fit_features(frames, epochs=1, seed=seed)
            states.append({name: value.clone() for name, value in net.autoencoder.state_dict().items()})
        assert torch.equal(torch.get_rng_state(), before)
    for state in states[1:4]:
        assert all(torch.equal(states[0][name], state[name]) for name in state)
    assert not torch.equal(states[0]["encoder.weight"], states[4]["encoder.weight"])


def test_stage_2_keeps_the_autoencoder(fitted):
    feats, lens = structured_frames(3 * 20).view(3, 20, 33), torch.tensor([1.0, 0.55, 0.05])
    before = {name: value.clone() for name, value in fitted.state_dict().items()}
    assert not any(parameter.requires_grad for parameter in fitted.autoencoder.parameters())
    optimizer = torch.optim.AdamW(fitted.parameters(), lr=0.01, weight_decay=0.1)
    quality_objective(*fitted(feats, lens), torch.tensor([4.0, 2.0, 1.0]), lens).backward()
    optimizer.step()
    for name, value in fitted.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("autoencoder."), name


def test_a_frame_score_depends_on_its_context_only(fitted):
    feats = structured_frames(20).unsqueeze(0)
    changed = feats.clone()
    changed[0, 10] *= 10
    differs = fitted(feats)[1][0] != fitted(changed)[1][0]
    assert differs.nonzero().flatten().tolist() == [8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (torch.rand(600, 32), {}, r"\(frames, 33\)"),
        (torch.rand(7, 33), {}, "at least 8 frames"),
        (torch.arange(33.0) - torch.ones(600, 1), {}, "-1.0 in frame 0"),
        (torch.rand(600, 33), {"lr": float("nan")}, "lr: nan"),
    ],
)
def test_impossible_trainings_are_refused(net, frames, options, message):
    with pytest.raises(ConfigError, match=message):
        net.fit_features(frames, **options)


@pytest.mark.parametrize(("option", "value"), [("num_bands", 0), ("context", -1), ("floor", 0.0)])
def test_invalid_options_are_refused(option, value):
    with pytest.raises(ConfigError, match=f"{option}: {value}"):
        AutoencoderNN(**{option: value})
