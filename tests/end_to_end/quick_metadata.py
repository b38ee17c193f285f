"""A worker, run through Faust, that looks for new partitions every second."""

import importlib

from streamapp import app as making

making.NEW_PARTITIONS_AFTER_S = 1.0
# Only now: it makes the app.
app = importlib.import_module("streamapp.worker").app
