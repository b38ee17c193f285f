"""`create_app`: the only place where the worker is put together."""

import asyncio
import gc
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn

import faust
from mode import CrashingSupervisor

from streamapp.agents.consumer import BoundedConsumer
from streamapp.agents.download import DownloadStage, Looked
from streamapp.agents.inference import InferenceStage
from streamapp.agents.intake import Intake
from streamapp.agents.membership import watch_membership
from streamapp.agents.publish import Publisher
from streamapp.engine import Engine, open_engine
from streamapp.exits import Exit, exit_for
from streamapp.health import Situation, ready
from streamapp.kafka import faust_broker_url, faust_credentials
from streamapp.logs import logging_config
from streamapp.metrics import WorkerParts
from streamapp.models.registry import check_weights
from streamapp.pages import add_pages, open_pages
from streamapp.policy import Policy, load_policy
from streamapp.settings import Settings
from streamapp.topics import wait_for_topics
from streamapp.tracing import open_tracing
from streamapp.watchdog import Pulse, Watchdog

logger = logging.getLogger(__name__)

EngineFactory = Callable[[Settings, Policy], AbstractAsyncContextManager[Engine]]

BROKER_RETRY_S = 5.0
ANSWER_MARGIN_S = 10.0
LONGEST_PAUSE_S = 365 * 86_400.0
# How long events on partitions that were added to the topic wait for a worker; Faust's are 5 minutes.
NEW_PARTITIONS_AFTER_S = 30.0
REPORT_EVERY_S = 60.0


class PlainWorker(faust.Worker):  # type: ignore[misc]  # Faust is untyped
    """Faust's process, without the spinner that replaces the log levels by its own."""

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Leave the root logger as `logging_config` has set it up."""
        self.spinner = None

    def execute_from_commandline(self) -> NoReturn:
        """Run until the end, and exit with the code of what ended it (`Exit`)."""
        try:
            super().execute_from_commandline()
        finally:
            code = exit_for(self.app.crash_reason)
            if code is not None:
                # Not in order: Python would join the models' threads, and one of them may hang.
                logger.error("The worker ends with exit code %d: %s", code, self.app.crash_reason)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        raise RuntimeError("Faust's worker came back. This is a bug.")


class Worker(faust.App):  # type: ignore[misc]  # Faust is untyped
    """The Faust app of a worker: loads the models before it joins the consumer group."""

    mundane_level = "debug"
    settings: Settings
    policy: Policy
    open_engine: EngineFactory
    notices: Sequence[str]
    intake: Intake
    stage: DownloadStage
    parts: WorkerParts | None = None
    pulse: Pulse
    is_broker_seen: bool = False

    async def on_start(self) -> None:
        """Wait for the broker, load the models, start the inference loops, then let Faust start."""
        for notice in self.notices:
            logger.warning("%s", notice)
        self.pulse = Pulse()
        self._watchdog().start()
        # Before all else, so that it can be asked what the start waits for.
        await open_pages(self)
        await wait_for_topics(self.settings, every_s=BROKER_RETRY_S)
        self.is_broker_seen = True
        started_s = time.monotonic()
        engine = await self.add_async_context(self.open_engine(self.settings, self.policy))
        logger.info(
            "Models are warm after %.1f s: %s.", time.monotonic() - started_s, ", ".join(self.settings.models)
        )
        keep_what_is_loaded()
        # Loading takes a while, and none of the clients that start now waits for a broker.
        await wait_for_topics(self.settings, every_s=BROKER_RETRY_S)
        publisher = await self.add_async_context(Publisher(self.settings))
        queue: asyncio.Queue[Looked] = asyncio.Queue(self.settings.events_in_flight)
        tracing = await self.add_async_context(open_tracing(self.settings))
        self.intake = Intake(
            self,
            events_in_flight=self.settings.events_in_flight,
            pictures_in_flight=self.settings.pictures_in_flight,
            unacked_events=self.settings.unacked_events,
            tracing=tracing,
        )
        self.stage = DownloadStage(self, self.intake, engine.source, publisher, queue)
        inference = InferenceStage(self.intake, engine, publisher, queue)
        for _ in range(self.settings.pictures_in_flight):
            self.add_future(inference.run())
        self.add_future(self._report())
        self.add_future(watch_membership(self.consumer, self.settings, lambda: self.should_stop))
        self.add_future(self.pulse.run())
        self.parts = WorkerParts(
            model_version=self.settings.model_version,
            intake=self.intake,
            download=self.stage,
            inference=inference,
            ready=queue,
            engine=engine,
            consumer=self.consumer,
            pulse=self.pulse,
            rebalances=lambda: self.rebalancing_count,
            conditions=lambda: ready(self.situation()),
        )
        await super().on_start()

    def situation(self) -> Situation:
        """What is seen of the worker at this moment; from any thread."""
        parts = self.parts
        runners = parts.engine.ensemble.runners if parts is not None else ()
        return Situation(
            loop_still_s=self.pulse.still_s,
            running_s={runner.network.name: runner.lanes.running_s for runner in runners},
            model_timeout_s=self.settings.model_timeout_s,
            crash=repr(self.crash_reason) if self.crashed else None,
            is_draining=self.should_stop and not self.crashed,
            is_broker_there=self.is_broker_seen and (parts is None or self.consumer.has_broker),
            are_models_warm=parts is not None,
            partitions=self.consumer.partitions,
            is_rebalancing=self.rebalancing or self.consumer.is_rebalancing,
        )

    async def _report(self) -> None:
        """Log once a minute what became of the events; nothing is logged for each of them."""
        while True:
            before, reasons_before = Counter(self.intake.outcomes), Counter(self.intake.reasons)
            await asyncio.sleep(REPORT_EVERY_S)
            news, reasons = self.intake.outcomes - before, self.intake.reasons - reasons_before
            if news or self.intake.unacked:
                logger.info(
                    "In the last %.0f s: %s; without a verdict: %s; %d events are not acked yet.",
                    REPORT_EVERY_S,
                    _listed(news),
                    _listed(reasons),
                    self.intake.unacked,
                )

    async def crash(self, reason: BaseException) -> None:
        """End the process for the first error; those that follow from it are not reported."""
        if not self.crashed:
            await super().crash(reason)

    def _crash(self, reason: BaseException) -> None:
        """Keep the first reason: what ends because of it can crash in its turn, as a cancelled agent does."""
        super()._crash(self.crash_reason or reason)

    def _create_directories(self) -> None:
        """Nothing is stored on disk, so Faust's data folder is not made."""

    def _watchdog(self) -> Watchdog:
        """Ends what can't end itself: Faust can wait for ever when SIGTERM meets a rebalance."""
        return Watchdog(
            self.pulse,
            loop_timeout_s=self.settings.loop_timeout_s,
            drain_timeout_s=self.settings.drain_timeout_s,
            is_ending=lambda: self.should_stop,
            overdue_exit=lambda: exit_for(self.crash_reason) or Exit.DRAIN_OVERDUE,
        )


def keep_what_is_loaded() -> None:
    """Leave all objects that there are now out of Python's garbage collections.

    With all models they are 460,000. Events set off a full collection again and again; it would look through
    them each time, and meanwhile every thread stands still, the event loop's too, for a quarter of a second.
    """
    gc.collect()
    gc.freeze()


def create_app(
    settings: Settings, engine: EngineFactory = open_engine, notices: Sequence[str] = ()
) -> Worker:
    """Build the worker's Faust app; nothing is loaded or connected before it starts.

    Args:
        engine: opens what turns URLs into rows; benchmarks give one that costs nothing.
        notices: what is odd about the settings and no error; logged once, when the logs are set up.

    Raises:
        SettingsError: the settings can't work together, or the policy's file can't be used.
        WeightsError: a model's file is missing or is not the expected one.
    """
    policy = load_policy(settings.policy_file)
    check_weights(settings, policy)
    app = Worker(settings.group, **_faust_options(settings))
    app.settings = settings
    app.policy = policy
    app.open_engine = engine
    app.notices = notices
    consumer = type(
        "Consumer",
        (BoundedConsumer,),
        {
            "__module__": __name__,
            "max_wait_empty_s": min(settings.rebalance_timeout_s, settings.drain_timeout_s) * 0.6,
        },
    )
    app.transport.Consumer = consumer
    # Bytes in: a value that Faust fails to decode would be acked at once, with no dead letter.
    events = app.topic(
        settings.events_topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    @app.agent(events, name="download")  # type: ignore[untyped-decorator]
    async def download(stream: Any) -> None:
        await app.stage.run(stream)

    add_pages(app)

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def take_over(_: Any, assigned: Any, **__: Any) -> None:
        app.intake.begin_epoch()
        app.stage.cancel_lost_events()
        logger.info(
            "Assigned %s.",
            ", ".join(sorted(f"{tp.topic}[{tp.partition}]" for tp in assigned)) or "no partition",
        )

    return app


def _faust_options(settings: Settings) -> dict[str, Any]:
    return {
        "broker": faust_broker_url(settings),
        "broker_credentials": faust_credentials(settings),
        "broker_commit_interval": 1.0,
        "broker_heartbeat_interval": max(1.0, settings.session_timeout_s / 10),
        # aiokafka leaves the group when nothing was read for so long, and joins again only once something is
        # read: never, for Faust reads nothing without a group. A broker's absence can last longer than any
        # bound; what hangs in the worker itself has limits of its own.
        "broker_max_poll_interval": LONGEST_PAUSE_S,
        "broker_max_poll_records": 500,
        # A broker that hangs is noticed after it. Faust demands that it is longer than the session timeout;
        # the answer to a join comes as late as the slowest worker of the group, which has the other one.
        "broker_request_timeout": max(settings.session_timeout_s, settings.rebalance_timeout_s)
        + ANSWER_MARGIN_S,
        "broker_rebalance_timeout": settings.rebalance_timeout_s,
        "broker_session_timeout": settings.session_timeout_s,
        "consumer_auto_offset_reset": "earliest",
        "consumer_metadata_max_age_ms": int(NEW_PARTITIONS_AFTER_S * 1000),
        "Worker": PlainWorker,
        "agent_supervisor": CrashingSupervisor,
        "store": "memory://",
        "stream_buffer_maxsize": 512,
        "stream_wait_empty": True,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "logging_config": logging_config(settings.log_level, settings.log_format),
        "worker_redirect_stdouts": False,
        "web_bind": settings.web_host,
        # Its own thread and loop: so /live can say that the worker's loop stands still.
        "web_in_thread": True,
        "web_port": settings.web_port,
    }


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
