"""Functions for the laws of kinds whose plugins work on tensors: comparisons, padded batches, and shared laws."""

from collections.abc import Callable, Iterable

from speechtools.core.contract import Broken, Law, Subject

#: Largest difference between equal float32 results of the order of 1; larger results are compared relatively.
TOLERANCE = 1e-5
#: Frames of the batch that laws on padding use, and those of its items.
NUM_FRAMES, ITEM_FRAMES = 60, (60, 41, 23, 7)


def tensor_law(sentence: str, remedy: str, grad: bool = False) -> Callable[[Callable], Law]:
    """Decorator that turns ``test(subject, torch)`` into a :class:`~speechtools.core.contract.Law`.

    torch is seeded, uses one thread, and records gradients only with ``grad``; all of that is restored afterwards.
    """

    def decorate(function: Callable) -> Law:
        def test(subject: Subject) -> None:
            import torch

            threads = torch.get_num_threads()
            with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(grad):
                torch.manual_seed(20)
                torch.set_num_threads(1)  # on a busy machine, threads make these tiny batches many times slower
                try:
                    function(subject, torch)
                finally:
                    torch.set_num_threads(threads)

        return Law(sentence, test, remedy)

    return decorate


def must_agree(one, other, what: str) -> None:
    """Raise Broken unless two tensors are equal within ``TOLERANCE``."""
    if one.shape != other.shape:
        raise Broken(f"{what} have the shapes {tuple(one.shape)} and {tuple(other.shape)}")
    scale = other.abs().max().clamp(min=1.0)
    difference = ((one - other).abs().max() / scale).item()
    if not difference <= TOLERANCE:  # so that NaN is a difference
        raise Broken(f"{what} differ by {difference:.2g}, where at most {TOLERANCE:g} is allowed")


def must_be(tensor, shape: tuple, what: str) -> None:
    """Raise Broken unless ``tensor`` is a float32 tensor of this shape."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise Broken(f"{what}: a {type(tensor).__name__} instead of a tensor")
    if tensor.dtype != torch.float32 or tuple(tensor.shape) != shape:
        raise Broken(f"{what}: {tensor.dtype} of shape {tuple(tensor.shape)} instead of torch.float32 of shape {shape}")


def must_be_finite(tensor, what: str) -> None:
    """Raise Broken if a value is infinite or NaN."""
    if not tensor.isfinite().all():
        raise Broken(f"{(~tensor.isfinite()).sum().item()} of {tensor.numel()} values for {what} are not finite")


def must_have_gradients(named_tensors: Iterable) -> None:
    """Raise Broken unless every tensor that requires a gradient has one that is finite and not 0."""
    for name, tensor in named_tensors:
        if not tensor.requires_grad:
            continue
        if tensor.grad is None or not tensor.grad.any():
            raise Broken(f"no gradient in {name}")
        if not tensor.grad.isfinite().all():
            raise Broken(f"a gradient in {name} that is not finite")


def padded_feats(size: int, draw: str):
    """Features (batch, time, size) with loud padding and their lens (batch,); ``draw`` is ``rand`` or ``randn``."""
    import torch

    feats = getattr(torch, draw)(len(ITEM_FRAMES), NUM_FRAMES, size)
    for row, frames in enumerate(ITEM_FRAMES):
        feats[row, frames:] *= 100
    return feats, torch.tensor(ITEM_FRAMES, dtype=torch.float32) / NUM_FRAMES


def sequence_laws(input_size: int, draw: str, *outputs: str) -> tuple[Law, ...]:
    """The laws of a network ``build(name, input_size)(feats, lens)``: on lens, padding and gradients.

    Parameters
    ----------
    input_size : int
        Size of a frame.
    draw : str
        How features are drawn: ``"rand"`` (magnitudes) or ``"randn"``.
    *outputs : str
        Names of the tensors that the network returns: one (batch, …) or (batch, time, …), or a tuple of them.
    """

    def run(module, feats, lens=None) -> tuple:
        returned = module(feats, lens)
        tensors = returned if isinstance(returned, tuple) else (returned,)
        if len(tensors) != len(outputs):
            raise Broken(f"forward returned a {type(returned).__name__} instead of ({', '.join(outputs)})")
        return tensors

    @tensor_law("lens=None means that every item is full", "Let forward(feats, lens=None) treat None as lens of 1.")
    def lens_default(subject: Subject, torch) -> None:
        module, (feats, lens) = subject.module(input_size=input_size), padded_feats(input_size, draw)
        pairs = zip(outputs, run(module, feats), run(module, feats, torch.ones_like(lens)), strict=True)
        for output, without, full in pairs:
            must_agree(without, full, f"the {output} without lens and with lens of 1")

    @tensor_law(
        f"padding, whatever its values, changes no valid value of {' or '.join(outputs)}",
        "Mask statistics, and the input of each convolution, to the first round(lens * time) frames; a backward LSTM "
        "must begin at the item's own end.",
    )
    def padding_ignored(subject: Subject, torch) -> None:
        module, (feats, lens) = subject.module(input_size=input_size), padded_feats(input_size, draw)
        together = run(module, feats, lens)
        for row, frames in enumerate(ITEM_FRAMES):
            alone = run(module, feats[row : row + 1, :frames])
            for output, padded, single in zip(outputs, together, alone, strict=True):
                valid = padded[row : row + 1]
                if single.dim() > 1:  # (1, frames, …), or (1, size) as it is
                    valid = valid[:, : single.shape[1]]
                must_agree(valid, single, f"the {output} of {frames} frames, alone and padded to {NUM_FRAMES},")

    @tensor_law(
        "a gradient reaches every parameter and the input",
        "Remove unused layers, and detach() or no_grad() on the way to the output.",
        grad=True,
    )
    def gradients_reach(subject: Subject, torch) -> None:
        module, (feats, lens) = subject.module(input_size=input_size).train(), padded_feats(input_size, draw)
        output = run(module, feats.requires_grad_(), lens)[0]
        (output * torch.randn_like(output)).sum().backward()
        must_have_gradients([*module.named_parameters(), ("the input feats", feats)])

    return lens_default, padding_ignored, gradients_reach


def bursts(seconds: float, sample_rate: int = 16000):
    """Make harmonic bursts with pauses, which measures take for speech: numpy (samples,) float32, peaks below 0.5."""
    import numpy as np

    rng = np.random.default_rng(20)
    time = np.arange(round(0.4 * sample_rate)) / sample_rate
    burst = np.hanning(len(time)) ** 0.3
    parts = []
    for _ in range(round(seconds / 0.65) + 1):
        pitch = rng.uniform(100, 220)
        tone = sum(np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) / k for k in range(1, 12))
        parts += [0.1 * tone * burst, np.zeros(round(0.25 * sample_rate))]
    return np.concatenate(parts)[: round(seconds * sample_rate)].astype(np.float32)
