"""Speech quality without a reference: the networks, their data and evaluation, and the pretrained interface."""

from speechtools.quality.net import QualityBLSTM, frame_weight, quality_objective

__all__ = ["QualityBLSTM", "frame_weight", "quality_objective"]
