"""The two-stage baseline of Quality-Net's table 3 (kind ``quality``): subband autoencoder features and a regression NN.

Soni and Patil, Interspeech 2016 (reference 22 of the Quality-Net paper): an autoencoder learns, without any score, to
rebuild the spectrum of a frame from a few numbers; a neural network then maps these numbers to the score. The first
stage is not trained again in the second, which is what Quality-Net is compared with.
"""

import math

import torch
from torch import Tensor, nn

from speechtools.audio.features import length_mask, num_samples
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin

#: Frames that are looked at together where all of them pass: bounds the memory, changes no result.
_FRAMES_AT_ONCE = 16384


def mel_bands(num_bands: int, input_size: int, sample_rate: int = 16000) -> Tensor:
    """Which bins belong to which band: booleans (num_bands, input_size).

    The bands are as wide as the triangles of a mel filterbank over 0 Hz … ``sample_rate / 2``: each overlaps half of
    its two neighbours, and every bin lies in one band at least. A band narrower than a bin has the bin nearest to its
    centre.

    >>> mel_bands(3, 9).int().tolist()
    [[1, 1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1, 1]]
    """
    nyquist = sample_rate / 2
    edges_mel = torch.linspace(0.0, 2595.0 * math.log10(1.0 + nyquist / 700.0), num_bands + 2, dtype=torch.float64)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    edges_hz[-1] = nyquist  # exactly, so that rounding does not shut out the last bin
    bins_hz = torch.linspace(0.0, nyquist, input_size, dtype=torch.float64)
    low, centre, high = (edge.unsqueeze(1) for edge in (edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]))
    # (num_bands, 1)
    bands = (low <= bins_hz) & (bins_hz <= high)
    nearest = (bins_hz - centre).abs().argmin(dim=1, keepdim=True)
    return bands.scatter(1, nearest, True)


class SubbandAutoencoder(nn.Module):
    """Log-magnitudes of a frame -> a few numbers a subband -> the log-magnitudes again.

    Parameters
    ----------
    input_size : int
        Bins of a frame, evenly from 0 Hz to half the sample rate.
    num_bands, features_per_band : int
        Bands of ``mel_bands``, and the neurons that see each: together the number of features.
    decoder_size : int
        Nodes of the hidden layer between the features and the rebuilt spectrum.
    floor : float
        Added to the magnitudes before the logarithm: it bounds what silence weighs.
    sample_rate : int
        In Hz; places the bands.

    Shape
    -----
    frames (…, input_size) -> rebuilt frames (…, input_size), as ``standardise`` has them.

    Example
    -------
    >>> autoencoder = SubbandAutoencoder(257, 8, 2, 16, 1e-3, 16000)
    >>> autoencoder(torch.rand(5, 257)).shape
    torch.Size([5, 257])
    """

    connections: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input_size: int,
        num_bands: int,
        features_per_band: int,
        decoder_size: int,
        floor: float,
        sample_rate: int,
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
        """Draw all weights anew, each layer's in the range that its number of inputs asks for."""
        inputs = self.connections.sum(dim=1, keepdim=True)
        # A neuron of a narrow band has few inputs: its weights are larger.
        layers: list[tuple[nn.Linear, Tensor | float]] = [(self.encoder, inputs.rsqrt())]
        layers += [(layer, layer.in_features**-0.5) for layer in self.decoder if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer, bound in layers:
                # Drawn where the generator lives, so that every device gets the same weights.
                layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator) * 2 - 1).mul_(bound)
                layer.bias.zero_()

    @property
    def size(self) -> int:
        """Number of features."""
        return self.encoder.out_features

    def compress(self, frames: Tensor) -> Tensor:
        """Magnitudes (…, input_size) as logarithms."""
        return torch.log(frames + self.floor)

    def standardise(self, frames: Tensor) -> Tensor:
        """Logarithms of the magnitudes (…, input_size), with mean 0 and variance 1 a bin over the training frames."""
        return (self.compress(frames) - self.mean) / self.std

    def encode(self, frames: Tensor) -> Tensor:
        """Magnitudes (…, input_size) -> features (…, size), in (-1, 1); each sees its own band alone."""
        weight = self.encoder.weight * self.connections
        return torch.tanh(nn.functional.linear(self.standardise(frames), weight, self.encoder.bias))

    def forward(self, frames: Tensor) -> Tensor:
        return self.decoder(self.encode(frames))

    def error(self, frames: Tensor) -> Tensor:
        """Mean squared error of the rebuilt frames (…, input_size), a scalar; the mean spectrum has 1."""
        return nn.functional.mse_loss(self(frames), self.standardise(frames))


@plugin("quality/autoencoder-nn")
class AutoencoderNN(nn.Module):
    """Features of a subband autoencoder, a NN that scores each frame, and the mean over the valid frames.

    Train it in two stages: ``fit_features`` on the frames of the training set, then the NN as any part of this kind.
    The original gives every frame its utterance's score as the target; ``quality_objective`` has that as its frame
    term. The autoencoder stays as ``fit_features`` left it: its parameters ask for no gradient, and one still reaches
    ``feats``.

    Parameters
    ----------
    input_size : int
        Size of a frame of magnitudes: 257 bins of a 512-point spectrum.
    num_bands, features_per_band, decoder_size, floor, sample_rate
        The autoencoder's: see ``SubbandAutoencoder``.
    context : int
        Frames on either side that the NN sees besides the scored one; beyond the ends of an item it sees zeros.
    nn_size : int
        Nodes of each of the NN's two hidden layers.
    initial_score : float
        Initial bias of the output node: near the mean of the labels.

    Shape
    -----
    feats (batch, time, input_size), not negative; lens (batch,) -> scores (batch,), frame scores (batch, time).
    Frame scores beyond an item's length are 0.

    Raises
    ------
    ConfigError
        A size below 1, a context below 0 or a floor that is not above 0.

    Example
    -------
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
            if value < 1:
                raise ConfigError(
                    f"{name}={value} leaves quality/autoencoder-nn nothing to work with: give at least 1."
                )
        if context < 0:
            raise ConfigError(f"context={context} cannot be: it is a number of frames on either side, 0 or more.")
        if not floor > 0:
            raise ConfigError(f"floor={floor} cannot be: silence has magnitude 0 and no logarithm. Give more than 0.")
        self.autoencoder = SubbandAutoencoder(
            input_size, num_bands, features_per_band, decoder_size, floor, sample_rate
        ).requires_grad_(False)
        # A fully connected layer over a frame and its neighbours, applied at every frame, is a convolution.
        self.neighbourhood = nn.Conv1d(self.autoencoder.size, nn_size, 2 * context + 1, padding=context)
        self.hidden = nn.Linear(nn_size, nn_size)
        self.output = nn.Linear(nn_size, 1)
        nn.init.constant_(self.output.bias, initial_score)

    def fit_features(
        self, frames: Tensor, epochs: int = 5, batch_size: int = 256, lr: float = 1e-3, seed: int = 0
    ) -> list[float]:
        """Stage 1: train the autoencoder on the spectra alone, from new weights; the NN is left as it is.

        Parameters
        ----------
        frames : Tensor
            Magnitudes (frames, input_size) of the training set, on any device, without padding.
        epochs, batch_size : int
            Passes over the frames, and frames a step of Adam.
        lr : float
            Learning rate of Adam.
        seed : int
            Of the weights and the order of the frames: the same frames and seed give the same autoencoder. The
            caller's random state is neither used nor changed.

        Returns
        -------
        list of float
            The mean squared error of reconstruction, a bin and frame, over each epoch, in units of the bins' variances:
            an autoencoder that only knows the mean spectrum has 1.

        Raises
        ------
        ConfigError
            ``frames`` have another size, are fewer than the features, negative or not finite; or an option is no
            positive number.
        """
        self._check_frames(frames)
        for name, value in {"epochs": epochs, "batch_size": batch_size, "lr": lr}.items():
            if not value > 0:
                raise ConfigError(f"{name}={value} trains nothing: give a number above 0.")
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
                    for chosen in order.split(batch_size):
                        batch = frames[chosen.to(frames.device)].to(device)
                        # (batch_size, input_size)
                        error = autoencoder.error(batch)
                        optimizer.zero_grad()
                        error.backward()
                        optimizer.step()
                        total += error.item() * len(batch)
                    errors.append(total / len(frames))
        finally:  # an interrupted stage 1 does not leak into stage 2
            autoencoder.zero_grad()
            autoencoder.requires_grad_(False)
        return errors

    def _check_frames(self, frames: Tensor) -> None:
        input_size, least = self.autoencoder.encoder.in_features, self.autoencoder.size
        if frames.dim() != 2 or frames.shape[1] != input_size:
            raise ConfigError(
                f"fit_features got frames of shape {tuple(frames.shape)}, but this part takes (frames, {input_size}). "
                "Join the utterances along time, without their padding, or build the part with another input_size."
            )
        if len(frames) < least:
            raise ConfigError(
                f"fit_features got {len(frames)} frames for {least} features, which could be learnt by heart: give at "
                f"least {least} frames, better thousands."
            )
        for start, piece in zip(range(0, len(frames), _FRAMES_AT_ONCE), frames.split(_FRAMES_AT_ONCE), strict=True):
            wrong = ~(piece.isfinite() & (piece >= 0)).all(dim=1)
            if wrong.any():
                row = int(wrong.nonzero()[0])
                values = piece[row]
                value = values[~(values.isfinite() & (values >= 0))][0].item()
                raise ConfigError(
                    f"fit_features got {value} in frame {start + row}: magnitudes are finite and not negative. Look at "
                    "the utterance of that frame, and give magnitudes, not their logarithms."
                )

    def _set_statistics(self, frames: Tensor) -> None:
        # In float64 and piece by piece: the logarithms of all frames would take as much memory again.
        totals = torch.zeros(2, frames.shape[1], dtype=torch.float64, device=frames.device)
        for piece in frames.split(_FRAMES_AT_ONCE):
            logs = self.autoencoder.compress(piece).double()
            totals += torch.stack([logs.sum(dim=0), logs.square().sum(dim=0)])
        mean, squares = totals / len(frames)
        std = (squares - mean.square()).clamp(min=0.0).sqrt()
        self.autoencoder.mean.copy_(mean)
        self.autoencoder.std.copy_(torch.where(std > 1e-4, std, 1.0))  # a bin that never changes is left as it is

    def score_features(self, features: Tensor) -> Tensor:
        """Stage 2: features (batch, time, size), 0 beyond an item's length -> a score a frame (batch, time)."""
        hidden = nn.functional.elu(self.neighbourhood(features.transpose(1, 2))).transpose(1, 2)
        # (batch, time, nn_size)
        return self.output(nn.functional.elu(self.hidden(hidden))).squeeze(2)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        batch, time, _ = feats.shape
        if lens is None:
            counts = torch.full((batch,), time, device=feats.device)
        else:
            counts = num_samples(lens, time)
        # (batch,)
        beyond = ~length_mask(counts, time)
        # (batch, time)
        # Masked twice: padding may hold what has no logarithm, nor a gradient; and the features of silence are not 0.
        features = self.autoencoder.encode(feats.masked_fill(beyond.unsqueeze(2), 0.0))
        features = features.masked_fill(beyond.unsqueeze(2), 0.0)
        # (batch, time, size)
        frame_scores = self.score_features(features).masked_fill(beyond, 0.0)
        return frame_scores.sum(dim=1) / counts, frame_scores
