"""ImageNet weights for backbones, fetched once by the libraries that keep them."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

# What the libraries raise where the network is missing, and for a file with a wrong checksum
FAILURES = (OSError, HTTPException, RuntimeError)


@contextmanager
def fetching(what: str, where: str = "hub/checkpoints of TORCH_HOME") -> Iterator[None]:
    """One line where weights cannot be had. where: to put them without this machine's network"""
    try:
        yield
    except FAILURES as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f"model.pretrained=true needs {what}, which cannot be fetched ({cause}); put that file "
            f"into {where}, or set model.pretrained=false"
        ) from error
