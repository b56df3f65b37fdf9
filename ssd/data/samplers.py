"""Which image is where in the stream: pure functions of seed, epoch and number of devices."""

from collections.abc import Iterator
from itertools import islice

import torch
from torch.utils.data import DataLoader, Sampler

REPEAT = -1  # an index that evaluation must not count


class TrainSampler(Sampler):
    """(epoch, index) keys of one device's share of every global batch, shuffled anew each epoch.

    A global batch of `batch_size` images is the same whatever the number of devices; the images
    that fill no batch at an epoch's end wait for another epoch.
    """

    def __init__(self, images: int, batch_size: int, seed: int, rank: int, world_size: int) -> None:
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def skip(self, samples: int) -> None:
        """Begin the next pass after that many samples: where a stopped run had come to."""
        self.skipped = samples

    def __len__(self) -> int:
        return self.images // self.batch_size * self.batch_size // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        order = torch.randperm(self.images, generator=generator)
        whole = order[: self.images // self.batch_size * self.batch_size]
        share = whole[self.rank :: self.world_size]
        skipped, self.skipped = self.skipped, 0
        return iter([(self.epoch, index) for index in share[skipped:].tolist()])


def epoch_seed(seed: int, epoch: int) -> int:
    """One number for both, with no two pairs of a project's life alike."""
    return (seed * 1_000_003 + epoch) % (1 << 63)


class EvaluationSampler(Sampler):
    """One device's share of a split in order, with REPEAT where shares would differ in length.

    Devices must take the same number of steps, and every image must count once.
    """

    def __init__(self, images: int, rank: int, world_size: int) -> None:
        share = -(-images // world_size)
        order = list(range(images)) + [REPEAT] * (share * world_size - images)
        self.share = order[rank::world_size]

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)


class ResumableLoader(DataLoader):
    """A loader over a TrainSampler that a checkpoint can stop and start in the middle of an epoch.

    Lightning saves and restores every loader that has these two methods.
    """

    taken = 0
    resumed_at = 0

    def __iter__(self) -> Iterator:
        self.taken = self.resumed_at
        self.sampler.skip(self.taken * self.batch_size)
        self.resumed_at = 0
        try:
            for batch in super().__iter__():
                self.taken += 1
                yield batch
        except (ConnectionError, EOFError) as error:  # while a batch passes, this is what is seen
            raise RuntimeError("a DataLoader worker was killed") from error
        except RuntimeError as error:
            if "DataLoader timed out" not in str(error):
                raise
            raise TimeoutError(
                f"no batch came for {self.timeout:g} seconds (data.timeout); its images are "
                f"{', '.join(self.awaited())}: a disk or a network that hangs"
            ) from error

    def awaited(self) -> list[str]:
        """The ids of the images of the batch that comes next."""
        self.sampler.skip(self.taken * self.batch_size)
        ids = self.dataset.annotations.ids
        return [ids[index] for _, index in islice(iter(self.sampler), self.batch_size)]

    def state_dict(self) -> dict[str, int]:
        return {"batches": self.taken % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.resumed_at = state["batches"]
