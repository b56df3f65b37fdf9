import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ssd.data.ahead import ahead


def test_results_come_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(10)
        first_may_end.set()
        return item * item

    with ThreadPoolExecutor(2) as pool:
        assert list(ahead(pool, work, range(20), depth=4)) == [n * n for n in range(20)]


def test_no_more_is_taken_than_is_held() -> None:
    taken = []

    def items() -> object:
        for item in range(100):
            taken.append(item)
            yield item

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, str, items(), depth=3)
        assert [next(results), next(results)] == ["0", "1"]
        assert len(taken) == 5


def test_an_error_of_the_work_is_raised_where_its_result_is_asked_for() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, lambda item: 1 // item, [1, 0, 1], depth=2)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
