"""Weights that other projects have published, a module a project."""
