"""The kinds of values that settings have, with what is checked of each."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from streamapp.settings.checks import (
    check_brokers,
    check_models,
    check_ports,
    check_topic,
    expand_home,
    lower,
    split_names,
)

Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
Ports = Annotated[Names, AfterValidator(check_ports)]
ModelNames = Annotated[Names, AfterValidator(check_models)]
Brokers = Annotated[str, AfterValidator(check_brokers)]
Topic = Annotated[str, AfterValidator(check_topic)]
Text = Annotated[str, Field(min_length=1)]
Digest = Annotated[str, BeforeValidator(lower), Field(pattern="^[0-9a-f]{64}$")]
Location = Annotated[Path, AfterValidator(expand_home)]
Device = Annotated[str, BeforeValidator(lower), Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$")]
