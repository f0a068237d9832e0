"""reader/my-net: the sources by turns, one at a step.

THE CONTRACT
"""

from collections.abc import Sequence

from torch.utils.data import Dataset

from speechtools import plugin
from speechtools.keyword.multireader import Source, SourceBatches, checked
from speechtools.speaker.batches import SpeakerBatches


@plugin("reader/my-net")
class MyNetReader(Dataset):
    """Step 0 is of the first source, step 1 of the second, and so on; each with its own weight.

    Parameters
    ----------
    sources : sequence of Source
    seed, rank, world_size : int

    Raises
    ------
    ConfigError, CorpusError
        As ``reader/multireader``.
    """

    def __init__(self, sources: Sequence[Source], seed: int = 0, rank: int = 0, world_size: int = 1):
        self.sources = [source for source in checked(sources) if source.weight > 0]
        self.batches = [
            SpeakerBatches(
                each.store,
                each.num_speakers,
                each.num_utterances,
                each.min_samples,
                each.max_samples,
                each.step_samples,
                seed + number,
                rank,
                world_size,
            )
            for number, each in enumerate(self.sources)
        ]

    def __getitem__(self, step: int) -> SourceBatches:
        round_number, turn = divmod(step, len(self.sources))
        source = self.sources[turn]
        return SourceBatches((source.name,), (source.weight,), (self.batches[turn][round_number],))
