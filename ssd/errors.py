"""Mistakes that a user can mend. Each message says what must hold, what came, and what to type."""


class ConfigError(ValueError):
    """A setting that cannot work. The command ends with code 2; other ValueErrors end with 1."""
