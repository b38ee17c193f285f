"""`faust -A streamapp.worker worker`: the only module with import effects, for Faust needs an app to find."""

import mode.loop

from streamapp.app import create_app
from streamapp.errors import StreamappError
from streamapp.settings import export_aws_variables, load_settings_with_origins

mode.loop.use("uvloop")  # half as much CPU per event as asyncio's own loop (benchmarks/stream.py)
try:
    _loaded = load_settings_with_origins()
    export_aws_variables(_loaded)
    app = create_app(_loaded.settings, notices=_loaded.notices)
except StreamappError as exc:
    raise SystemExit(f"streamapp: {exc}") from exc
