"""Many texts as two buffers, for what every data-loading worker has."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

SURROGATES = "surrogatepass"  # any str survives: names of files need not be UTF-8


class Texts(Sequence[str]):
    """An immutable sequence of texts without a Python object for each.

    To read an object is to count a reference in it, so a list of a million texts, which a forked
    worker shares with its parent until one of them writes, becomes a copy in every worker. Tensors
    stay shared, and go through shared memory to a worker that is not forked.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", SURROGATES) for text in texts]
        starts = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        whole = np.frombuffer(bytearray().join(encoded), np.uint8)
        self.bytes = torch.from_numpy(whole)  # UTF-8, one text after another
        self.starts = torch.from_numpy(starts)  # text i is the bytes starts[i]:starts[i + 1]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> str:
        row = range(len(self))[index]  # negative ones and those beyond the end, as of a list
        start, end = self.starts[row : row + 2].tolist()
        return str(self.bytes[start:end].numpy(), "utf-8", SURROGATES)

    def __iter__(self) -> Iterator[str]:
        whole = memoryview(self.bytes.numpy())
        for start, end in pairwise(self.starts.tolist()):
            yield str(whole[start:end], "utf-8", SURROGATES)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Texts | list) else NotImplemented
