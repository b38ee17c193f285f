"""The settings of streamapp: one frozen object, read once at start and passed on explicitly.

`load_settings` reads the environment and the `.env` file; nothing else does.
"""

from streamapp.settings.fields import Settings
from streamapp.settings.kinds import Names
from streamapp.settings.loading import (
    LoadedSettings,
    export_aws_variables,
    load_settings,
    load_settings_with_origins,
)
from streamapp.settings.origins import Origin

__all__ = [
    "LoadedSettings",
    "Names",
    "Origin",
    "Settings",
    "export_aws_variables",
    "load_settings",
    "load_settings_with_origins",
]
