import pytest
import torch

from ssd.devices import computing_in, find_device, find_precision, has_bf16_units
from ssd.errors import ConfigError


def test_the_device_is_the_first_gpu_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert find_device("auto").type in (expected, "mps")
    assert find_device("cpu").type == "cpu"


@pytest.mark.parametrize("wanted", ["gpu", "cuda:99", "mps:7", "meta", "", "tpu"])
def test_a_device_that_is_not_there_is_named(wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"device={wanted}: "):
        find_device(wanted)


def test_the_precision_is_bfloat16_where_the_device_computes_in_it() -> None:
    assert find_precision("auto", "cpu") == ("bf16-mixed" if has_bf16_units("cpu") else "32-true")
    assert find_precision("auto", "mps") == "32-true"
    assert find_precision("16-mixed", "mps") == "16-mixed"


@pytest.mark.parametrize(
    ("wanted", "why"), [("16-true", "would round"), ("8", "give one of"), ("16-mixed", "a GPU")]
)
def test_a_precision_that_cannot_work_is_refused(wanted: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        find_precision(wanted, "cpu")


def test_mixed_precision_multiplies_in_bfloat16() -> None:
    matrix = torch.ones(2, 2)
    for precision, kind in (("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)):
        with computing_in(precision, torch.device("cpu")):
            assert (matrix @ matrix).dtype == kind
