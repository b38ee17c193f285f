"""Watches over the worker's membership in its consumer group: aiokafka only logs what keeps it out."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiokafka import TopicPartition

from streamapp.errors import BrokerError
from streamapp.group_offsets import committed_offsets
from streamapp.settings import Settings
from streamapp.topics import wait_for_topics

LOOK_EVERY_S = 2.0
ASK_EVERY_S = 5.0
REFUSED_FOR_S = 30.0
# Looks without a coordinator until others are asked: a minute. Counted, not timed: a process that was stopped
# (SIGSTOP) has not looked for it meanwhile.
LOOKS_WITHOUT = 30
# So often in a row: longer than one try of aiokafka's to connect, which may last the request timeout (40 s).
ANSWERS_TO_OTHERS = 3


class Member(Protocol):
    """A consumer, as far as it is watched."""

    @property
    def has_broker(self) -> bool:
        """Whether the group's coordinator answers."""

    def refusal(self) -> BaseException | None:
        """Why the broker keeps it out of the group."""


async def watch_membership(
    member: Member,
    settings: Settings,
    is_ending: Callable[[], bool],
    *,
    look_every_s: float = LOOK_EVERY_S,
) -> None:
    """End the worker where it would stand there and take no event, by raising; else run until cancelled.

    Raises:
        BrokerError: the broker keeps the worker out of its group; or lacks a topic; or the group's
            coordinator answers others and stays out of the worker's reach, as when all brokers have new
            addresses, for which aiokafka never asks the bootstrap servers again.
        SettingsError: the broker refuses the login or the client certificate.
    """
    looks, answers = 0, 0
    while True:
        await asyncio.sleep(look_every_s)
        refusal = member.refusal()
        if refusal is not None and not is_ending():
            raise BrokerError(
                f"The broker keeps this worker out of the group {settings.group!r}: "
                f"{refusal!r}. Look at the group's permissions and at STREAMAPP_SESSION_TIMEOUT_S."
            )
        if member.has_broker or is_ending():
            looks, answers = 0, 0
            continue
        looks += 1
        if looks % LOOKS_WITHOUT:
            continue
        answers = answers + 1 if await _others_are_answered(settings) else 0
        if answers == ANSWERS_TO_OTHERS and not member.has_broker and not is_ending():
            raise BrokerError(
                f"The coordinator of the group {settings.group!r} answers, but this worker's consumer has "
                f"not reached it for {looks * look_every_s:.0f} s. The brokers' addresses may all have "
                "changed, which a client learns only when it starts. Start the worker again."
            )


async def _others_are_answered(settings: Settings) -> bool:
    """Whether a client that starts now is answered at once, by the group's coordinator too."""
    is_at_once = await wait_for_topics(settings, every_s=ASK_EVERY_S, refused_for_s=REFUSED_FOR_S)
    try:
        await committed_offsets(settings, settings.group, [TopicPartition(settings.events_topic, 0)])
    except BrokerError:
        return False
    return is_at_once
