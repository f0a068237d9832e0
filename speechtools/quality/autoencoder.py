"""The two-stage baseline of Quality-Net's table 3 (kind ``quality``): subband autoencoder features and a regression NN.

Soni and Patil, Interspeech 2016 (reference 22 of the Quality-Net paper). Stage 1 trains an autoencoder, without scores,
to reconstruct the spectrum of a frame from a few features. Stage 2 trains a neural network that maps these features to
the score, with the autoencoder frozen.
"""

import math

import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin

#: Frames that are processed at a time; bounds the memory.
_FRAMES_AT_ONCE = 16384


def mel_bands(num_bands: int, input_size: int, sample_rate: int = 16000) -> Tensor:
    """Booleans (num_bands, input_size): which frequency bins belong to which band.

    The bands are as wide as the triangles of a mel filterbank from 0 Hz to ``sample_rate / 2``. Each overlaps half of
    its two neighbours, and every bin lies in at least one band. A band narrower than a bin has the bin nearest to its
    centre.

    >>> mel_bands(3, 9).int().tolist()
    [[1, 1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1, 1]]
    """
    nyquist = sample_rate / 2
    edges_mel = torch.linspace(0.0, 2595.0 * math.log10(1.0 + nyquist / 700.0), num_bands + 2, dtype=torch.float64)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    edges_hz[-1] = nyquist  # rounding must not exclude the last bin
    bins_hz = torch.linspace(0.0, nyquist, input_size, dtype=torch.float64)
    low, centre, high = (edge.unsqueeze(1) for edge in (edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]))
    # (num_bands, 1)
    bands = (low <= bins_hz) & (bins_hz <= high)
    nearest = (bins_hz - centre).abs().argmin(dim=1, keepdim=True)
    return bands.scatter(1, nearest, True)


class SubbandAutoencoder(nn.Module):
    """Autoencoder of log-magnitude frames with a few features per subband.

    Parameters
    ----------
    input_size : int
        Bins of a frame, evenly from 0 Hz to half the sample rate.
    num_bands, features_per_band : int
        Bands of ``mel_bands``, and neurons per band; their product is the number of features.
    decoder_size : int
        Nodes of the hidden layer of the decoder.
    floor : float
        Added to the magnitudes before the logarithm.
    sample_rate : int
        In Hz; determines the bands.

    Shape
    -----
    frames (…, input_size) -> reconstructed frames (…, input_size), on the scale of ``standardise``.

    Examples
    --------
    >>> autoencoder = SubbandAutoencoder(257, 8, 2, 16, 1e-3, 16000)
    >>> autoencoder(torch.rand(5, 257)).shape
    torch.Size([5, 257])
    """

    connections: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self, input_size: int, num_bands: int, features_per_band: int, decoder_size: int, floor: float, sample_rate: int
    ):
        super().__init__()
        self.floor = floor
        connections = mel_bands(num_bands, input_size, sample_rate).repeat_interleave(features_per_band, dim=0)
        # (features, input_size)
        self.register_buffer("connections", connections, persistent=False)
        self.register_buffer("mean", torch.zeros(input_size))
        self.register_buffer("std", torch.ones(input_size))
        self.encoder = nn.Linear(input_size, len(connections))
        self.decoder = nn.Sequential(
            nn.Linear(len(connections), decoder_size), nn.ELU(), nn.Linear(decoder_size, input_size)
        )
        self.draw_weights()

    def draw_weights(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights for all layers, each uniform within ± 1 / sqrt(number of inputs)."""
        inputs = self.connections.sum(dim=1, keepdim=True)
        bounds: dict[nn.Linear, Tensor | float] = {self.encoder: inputs.rsqrt()}
        bounds |= {layer: layer.in_features**-0.5 for layer in self.decoder if isinstance(layer, nn.Linear)}
        with torch.no_grad():
            for layer, bound in bounds.items():
                # Drawn on the CPU, so that every device gets the same weights.
                layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator) * 2 - 1).mul_(bound)
                layer.bias.zero_()

    @property
    def size(self) -> int:
        """Number of features."""
        return self.encoder.out_features

    def compress(self, frames: Tensor) -> Tensor:
        """Logarithm of magnitudes (…, input_size)."""
        return torch.log(frames + self.floor)

    def standardise(self, frames: Tensor) -> Tensor:
        """Log-magnitudes (…, input_size) with mean 0 and variance 1 per bin over the training frames."""
        return (self.compress(frames) - self.mean) / self.std

    def encode(self, frames: Tensor) -> Tensor:
        """Features (…, size) in (-1, 1) of magnitudes (…, input_size); each depends on its own band only."""
        weight = self.encoder.weight * self.connections
        return torch.tanh(nn.functional.linear(self.standardise(frames), weight, self.encoder.bias))

    def forward(self, frames: Tensor) -> Tensor:
        """Reconstruct the standardised frames."""
        return self.decoder(self.encode(frames))

    def error(self, frames: Tensor) -> Tensor:
        """Mean squared error of the reconstruction, a scalar. Predicting the mean spectrum gives 1."""
        return nn.functional.mse_loss(self(frames), self.standardise(frames))


@plugin("quality/autoencoder-nn")
class AutoencoderNN(nn.Module):
    """Features of a subband autoencoder, a network that scores each frame, and the mean over the valid frames.

    Train it in two stages: first call ``fit_features`` on the frames of the training set, then train the network like
    any plugin of this kind. The original uses the score of the utterance as the target of each of its frames, which is
    the frame term of ``quality_objective``. The parameters of the autoencoder require no gradient; gradients still
    reach ``feats``.

    Parameters
    ----------
    input_size : int
        Size of a frame of magnitudes: 257 bins of a 512-point spectrum.
    num_bands, features_per_band, decoder_size, floor, sample_rate
        See ``SubbandAutoencoder``.
    context : int
        Neighbouring frames on either side that the network sees; zeros beyond the ends of an item.
    nn_size : int
        Nodes of each of the two hidden layers.
    initial_score : float
        Initial bias of the output node: near the mean of the labels.

    Shape
    -----
    feats (batch, time, input_size), not negative; lens (batch,) -> scores (batch,), frame scores (batch, time).
    Frame scores beyond an item's length are 0.

    Raises
    ------
    ConfigError
        A size is below 1, the context below 0, or the floor not above 0.

    Examples
    --------
    >>> net = AutoencoderNN()
    >>> errors = net.fit_features(torch.rand(500, 257), epochs=2)
    >>> scores, frame_scores = net(torch.rand(2, 62, 257), torch.tensor([1.0, 0.5]))
    >>> scores.shape, frame_scores.shape
    (torch.Size([2]), torch.Size([2, 62]))
    """

    def __init__(
        self,
        input_size: int = 257,
        num_bands: int = 40,
        features_per_band: int = 2,
        decoder_size: int = 128,
        floor: float = 0.01,
        sample_rate: int = 16000,
        context: int = 2,
        nn_size: int = 128,
        initial_score: float = 2.5,
    ):
        super().__init__()
        sizes = {"input_size": input_size, "num_bands": num_bands, "features_per_band": features_per_band}
        sizes |= {"decoder_size": decoder_size, "sample_rate": sample_rate, "nn_size": nn_size}
        for name, value in sizes.items():
            check_number(name, value, 1)
        check_number("context", context, 0)
        check_number("floor", floor, 0, above=True)
        self.autoencoder = SubbandAutoencoder(
            input_size, num_bands, features_per_band, decoder_size, floor, sample_rate
        ).requires_grad_(False)
        # A fully connected layer over a frame and its neighbours is a convolution over time.
        self.neighbourhood = nn.Conv1d(self.autoencoder.size, nn_size, 2 * context + 1, padding=context)
        self.hidden = nn.Linear(nn_size, nn_size)
        self.output = nn.Linear(nn_size, 1)
        nn.init.constant_(self.output.bias, initial_score)

    def fit_features(
        self, frames: Tensor, epochs: int = 5, batch_size: int = 256, lr: float = 1e-3, seed: int = 0
    ) -> list[float]:
        """Stage 1: train the autoencoder from new weights on spectra only; the scoring network is unchanged.

        Parameters
        ----------
        frames : Tensor
            Magnitudes (frames, input_size) of the training set without padding, on any device.
        epochs, batch_size : int
            Passes over the frames, and frames per step of Adam.
        lr : float
            Learning rate of Adam.
        seed : int
            Seed of the weights and of the order of the frames. The global random state is neither used nor changed.

        Returns
        -------
        list of float
            Mean squared error of the reconstruction in each epoch, in units of the variance of each bin; predicting
            the mean spectrum gives 1.

        Raises
        ------
        ConfigError
            ``frames`` have another size, are fewer than the features, negative or not finite; or an option is not a
            positive number.
        """
        self._check_frames(frames)
        for name, value in {"epochs": epochs, "batch_size": batch_size, "lr": lr}.items():
            check_number(name, value, 0, above=True)
        autoencoder, device = self.autoencoder, self.output.bias.device
        generator = torch.Generator().manual_seed(seed)
        autoencoder.draw_weights(generator)
        self._set_statistics(frames)
        errors = []
        autoencoder.requires_grad_(True)
        try:
            with torch.enable_grad():
                optimizer = torch.optim.Adam(autoencoder.parameters(), lr=lr)
                for _ in range(epochs):
                    total = 0.0
                    order = torch.randperm(len(frames), generator=generator)
                    for indices in order.split(batch_size):
                        batch = frames[indices.to(frames.device)].to(device)
                        # (batch_size, input_size)
                        error = autoencoder.error(batch)
                        optimizer.zero_grad()
                        error.backward()
                        optimizer.step()
                        total += error.item() * len(batch)
                    errors.append(total / len(frames))
        finally:  # also after an interruption, so that stage 2 does not train it
            autoencoder.zero_grad()
            autoencoder.requires_grad_(False)
        return errors

    def _check_frames(self, frames: Tensor) -> None:
        input_size, least = self.autoencoder.encoder.in_features, self.autoencoder.size
        if frames.dim() != 2 or frames.shape[1] != input_size:
            raise ConfigError(f"fit_features takes frames (frames, {input_size}), got {tuple(frames.shape)}.")
        if len(frames) < least:
            raise ConfigError(f"fit_features needs at least {least} frames, got {len(frames)}. Use thousands.")
        for start, block in zip(range(0, len(frames), _FRAMES_AT_ONCE), frames.split(_FRAMES_AT_ONCE), strict=True):
            invalid = (~(block.isfinite() & (block >= 0))).nonzero()
            if len(invalid):
                frame, column = invalid[0].tolist()
                value = block[frame, column].item()
                raise ConfigError(
                    f"Invalid magnitude {value} in frame {start + frame}. Pass magnitudes, not logarithms."
                )

    def _set_statistics(self, frames: Tensor) -> None:
        # In blocks: the logarithms of all frames would need as much memory again.
        totals = torch.zeros(2, frames.shape[1], dtype=torch.float64, device=frames.device)
        for block in frames.split(_FRAMES_AT_ONCE):
            logs = self.autoencoder.compress(block).double()
            totals += torch.stack([logs.sum(dim=0), logs.square().sum(dim=0)])
        mean, squares = totals / len(frames)
        std = (squares - mean.square()).clamp(min=0.0).sqrt()
        self.autoencoder.mean.copy_(mean)
        self.autoencoder.std.copy_(torch.where(std > 1e-4, std, 1.0))  # a constant bin is not scaled

    def score_features(self, features: Tensor) -> Tensor:
        """Frame scores (batch, time) of features (batch, time, size) that are 0 beyond an item's length."""
        hidden = nn.functional.elu(self.neighbourhood(features.transpose(1, 2))).transpose(1, 2)
        # (batch, time, nn_size)
        return self.output(nn.functional.elu(self.hidden(hidden))).squeeze(2)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score a padded batch: scores (batch,), frame scores (batch, time)."""
        counts = frame_counts(feats, lens)
        # (batch,)
        beyond = ~length_mask(counts, feats.shape[1])
        # (batch, time)
        # Masked twice: padding may have no finite logarithm or gradient, and the features of silence are not 0.
        features = self.autoencoder.encode(feats.masked_fill(beyond.unsqueeze(2), 0.0))
        features = features.masked_fill(beyond.unsqueeze(2), 0.0)
        # (batch, time, size)
        frame_scores = self.score_features(features).masked_fill(beyond, 0.0)
        return frame_scores.sum(dim=1) / counts, frame_scores
