"""A worker, run through Faust, that commits only when its partitions go."""

from streamapp.worker import app as app

app.conf.broker_commit_interval = 600.0
