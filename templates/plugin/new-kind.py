"""my-kind/my-net: a plugin, and the contract of its kind my-kind.

A contract is one sentence with shapes, and laws: functions that raise Broken with what they saw. The tests run them on
every plugin of the kind. In a package or in the toolkit, put the contract into a file of its own, contract.py, and name
the modules of the plugins in it: Contract(…, modules=("my_package.my_module",)).
"""

from torch import Tensor, nn

from speechtools import plugin
from speechtools.audio.frames import length_mask, num_samples
from speechtools.core.contract import Broken, Contract, Subject, register_kind
from speechtools.core.laws import must_agree, must_be, tensor_law


@tensor_law("feats (batch, time, size) give (batch, size)", "Reduce over time.")
def has_shape(subject: Subject, torch) -> None:
    must_be(subject.module()(torch.randn(3, 20, 5)), (3, 5), "feats (3, 20, 5)")


@tensor_law("padding changes nothing", "Use the first round(lens * time) frames only.")
def ignores_padding(subject: Subject, torch) -> None:
    net, feats = subject.module(), torch.randn(1, 20, 5)
    must_agree(net(feats, torch.tensor([0.5])), net(feats[:, :10]), "10 frames alone and padded")


@tensor_law("silence gives finite values", "Add a floor before a division or a logarithm.")
def is_finite(subject: Subject, torch) -> None:
    pooled = subject.module()(torch.zeros(1, 20, 5))
    if not pooled.isfinite().all():
        raise Broken(f"{pooled.tolist()} for silence")


register_kind(
    "my-kind",
    Contract(
        "build(name)(feats, lens): feats (batch, time, size) and relative lens (batch,) or None -> (batch, size)",
        laws=(has_shape, ignores_padding, is_finite),
    ),
)


@plugin("my-kind/my-net")
class MyNet(nn.Module):
    """The mean over the valid frames.

    Shape
    -----
    feats (batch, time, size), lens (batch,) or None -> (batch, size)
    """

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return the means (batch, size) of feats (batch, time, size)."""
        if lens is None:
            return feats.mean(dim=1)
        counts = num_samples(lens, feats.shape[1])
        mask = length_mask(counts, feats.shape[1]).unsqueeze(2)
        # (batch, time, 1)
        return (feats * mask).sum(dim=1) / counts.unsqueeze(1)
