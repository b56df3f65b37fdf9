"""A checkpoint made usable: load it, detect on images. No Lightning."""

from ssd.detector.detector import Detected, Detector, load

__all__ = ["Detected", "Detector", "load"]
