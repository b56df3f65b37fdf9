"""Loggers beside metrics.csv, whose trouble must not be the run's."""

import logging
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

CALLS = ("log_metrics", "log_hyperparams", "log_image", "save", "finalize")


def outlived(loggers: Iterable[Logger]) -> list[Logger]:
    """The loggers, each of which is left alone after its first error, with a warning: a full disk
    or a server that is gone. Lightning lets such an error end the run.

    Their own methods are guarded: in another logger around them, Lightning and callbacks would not
    find the kind that they look for.
    """
    found = [*loggers]
    for logger in found:
        failed: list[Exception] = []
        for name in CALLS:
            if hasattr(logger, name):
                setattr(logger, name, guarded(getattr(logger, name), failed))
    return found


def guarded(call: Callable[..., Any], failed: list[Exception]) -> Callable[..., Any]:
    """failed: the first error of a logger, once there is one"""

    @wraps(call)
    def attempt(*args: Any, **options: Any) -> Any:
        if failed:
            return None
        try:
            return call(*args, **options)
        except Exception as error:
            failed.append(error)
            kind = type(call.__self__).__name__
            log.warning("%s failed and gets nothing more; metrics.csv has all: %s", kind, error)

    return attempt
