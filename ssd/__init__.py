"""SSD: Single Shot MultiBox Detector (Liu et al., 2016, arXiv:1512.02325)."""
