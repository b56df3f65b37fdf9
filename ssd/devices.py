"""Where a network computes, and in which precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

from ssd.errors import ConfigError

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
KINDS = ("cpu", "cuda", "mps")


def find_device(wanted: str) -> torch.device:
    """The device of a name as torch has it, as cuda:1; "auto" is the first GPU, or else the CPU."""
    if wanted == "auto":
        gpu = torch.accelerator.current_accelerator(check_available=True)
        return gpu if gpu is not None and gpu.type in KINDS else torch.device("cpu")
    try:
        device = torch.device(wanted)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in KINDS:
        raise ConfigError(f"device={wanted}: give auto, cpu, cuda, cuda:1 or mps")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= there[device.type]:
        raise ConfigError(
            f"device={wanted}: torch finds {there[device.type]} devices of that kind here; "
            "device=cpu works everywhere"
        )
    return device


def find_precision(wanted: str, kind: str) -> str:
    """A precision; "auto" is bf16-mixed where the device computes in it, else 32-true.

    kind: of the device, one of `KINDS`
    """
    if wanted not in PRECISIONS:
        why = ": it would round anchors and constants" if str(wanted).endswith("-true") else ""
        raise ConfigError(f"precision={wanted}{why}; give one of {', '.join(PRECISIONS)}")
    if wanted == "16-mixed" and kind == "cpu":
        raise ConfigError("precision=16-mixed needs a GPU; use bf16-mixed or 32-true")
    if wanted != "auto":
        return wanted
    return "bf16-mixed" if has_bf16_units(kind) else "32-true"


def has_bf16_units(kind: str) -> bool:
    """Whether a device computes in bfloat16 itself: one that only imitates it is slower so."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(False)
    on_cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return kind == "cpu" and on_cpu


def computing_in(precision: str, device: torch.device) -> AbstractContextManager:
    """In which a network computes as in Lightning's run of that precision."""
    if precision not in MIXED:
        return nullcontext()
    return torch.autocast(device.type, MIXED[precision])
