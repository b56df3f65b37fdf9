"""A line on stderr for work that takes long."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[int, int], None]  # takes how many are done, of how many


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Shown after two seconds; where stderr is no terminal, a line every twenty."""
    often = 0.2 if sys.stderr.isatty() else 20
    with tqdm(desc=what, delay=2, mininterval=often, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
