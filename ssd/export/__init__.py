"""A detector for other runtimes: written, run there, and compared with PyTorch."""
