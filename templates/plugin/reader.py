"""reader/my-net: a reader of several sources.

THE CONTRACT
"""

from collections.abc import Sequence

from torch.utils.data import Dataset

from speechtools import plugin
from speechtools.speaker.batches import SpeakerBatches
from speechtools.speaker.multireader import Source, SourceBatches, checked


@plugin("reader/my-net")
class MyNetReader(Dataset):
    """Step 0 draws from the first source, step 1 from the second, and so on, with the weight of that source.

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
                source.store,
                source.num_speakers,
                source.num_utterances,
                source.min_samples,
                source.max_samples,
                source.step_samples,
                seed + number,
                rank,
                world_size,
            )
            for number, source in enumerate(self.sources)
        ]

    def __getitem__(self, step: int) -> SourceBatches:
        round_number, turn = divmod(step, len(self.sources))
        source = self.sources[turn]
        return SourceBatches((source.name,), (source.weight,), (self.batches[turn][round_number],))
