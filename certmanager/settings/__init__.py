"""Frozen settings: flags, then the environment, then a YAML file, then defaults; read once, checked as a whole."""

from certmanager.settings.fields import Settings, variable
from certmanager.settings.reading import SettingsError, load

__all__ = ["Settings", "SettingsError", "load", "variable"]
