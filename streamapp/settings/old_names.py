"""The old deployment's names (DESIGN §6) and what each means here."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

TIMES = " \N{MULTIPLICATION SIGN} "
_MAX_NUMBER = 10_000


@dataclass(frozen=True, slots=True)
class OldSetting:
    """A field and the old name, or the names whose product it is, that it is also read from.

    Attributes:
        field: of `Settings`.
        names: as the old deployment wrote them.
        combine: makes the field's text of the names' numbers; None: the text is taken as it stands.
    """

    field: str
    names: tuple[str, ...]
    combine: Callable[[Decimal], str] | None = None

    @property
    def label(self) -> str:
        """The names as one text: the factors, with a multiplication sign between."""
        return TIMES.join(self.names)

    def read(self, texts: Mapping[str, str]) -> str:
        """Make the field's text of the old values; a missing factor counts as 1, Ray's own default.

        Args:
            texts: old name → value, at least one of ``names``.

        Raises:
            OldValueError: a value that must be a number is none, or is negative or absurdly large.
        """
        if self.combine is None:
            return texts[self.names[0]]
        product = Decimal(1)
        for name in self.names:
            if name in texts:
                product *= _number(name, texts[name])
        return self.combine(product)


class OldValueError(ValueError):
    """The value of one old name can't be read."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def _number(name: str, text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not (number.is_finite() and 0 <= number <= _MAX_NUMBER):
        raise OldValueError(name, f"must be a number from 0 to {_MAX_NUMBER}")
    return number


def _threads(cpus: Decimal) -> str:
    """CPUs as Ray counts them, 0.2 of one too, as threads: rounded up, at least 1."""
    return str(max(1, math.ceil(cpus)))


def _gpu_share(gpus: Decimal) -> str:
    """GPUs per replica as a share of one GPU's memory; an instance uses one GPU at most."""
    return str(min(Decimal(1), gpus))


OLD_SETTINGS: tuple[OldSetting, ...] = (
    OldSetting("downloads_in_flight", ("DownloadMaxCon",)),
    OldSetting("decode_threads", ("DownloadNumReplicas", "DownloadNumCPUPerReplica"), _threads),
    OldSetting("nudenet_instances", ("NudenetNumReplicas",)),
    OldSetting("nudenet_threads", ("NudenetNumCPUPerReplica",), _threads),
    OldSetting("nudenet_queue", ("NudenetMaxCon",)),
    OldSetting("mfd_instances", ("MFDNumReplicas",)),
    OldSetting("mfd_threads", ("MFDNumCPUPerReplica",), _threads),
    OldSetting("mfd_queue", ("MFDMaxCon",)),
    OldSetting("clip_instances", ("ClipNumReplicas",)),
    OldSetting("clip_threads", ("ClipNumCPUPerReplica",), _threads),
    OldSetting("clip_queue", ("ClipMaxCon",)),
    OldSetting("clip_gpu_share", ("ClipNumGPUPerReplica",), _gpu_share),
    OldSetting("events_in_flight", ("ComposedMaxCon",)),
    OldSetting("results_topic", ("SnowflakeResultsQueue",)),
    OldSetting("ai_model_bucket", ("AiModelBucket",)),
)

WITHOUT_EFFECT = ("ComposedNumReplicas", "ComposedNumCPUPerReplica")
"""Accepted, said once: the composition is the event loop."""

IGNORED = ("RAY_LOG_TO_STDERR",)
"""Accepted and ignored."""

AWS_PREFIX = "AWS_"

OLD_NAMES: tuple[str, ...] = (
    *(name for setting in OLD_SETTINGS for name in setting.names),
    *WITHOUT_EFFECT,
    *IGNORED,
)

# Kubernetes sets such variables in every pod for each Service; one named streamapp gives STREAMAPP_PORT.
_SERVICE_LINK = re.compile(
    r"STREAMAPP_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def is_service_link(name: str, value: str) -> bool:
    """Tell the variables that Kubernetes sets for a Service named ``streamapp…`` from settings."""
    name = name.upper()
    if name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://")):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None
