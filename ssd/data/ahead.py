"""Work done ahead of what waits for it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    depth: int,
) -> Iterator[Result]:
    """function(item) of every item, in their order, begun for `depth` of them before they are
    asked for; no more are held. Decoders and resizing let go of the GIL."""
    rest = iter(items)
    waiting: deque[Future[Result]] = deque(
        pool.submit(function, item) for item in islice(rest, depth)
    )
    try:
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(rest, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()
