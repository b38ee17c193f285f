"""Reads a Dockerfile: its stages and their instructions, as far as our own Dockerfiles use the language."""

import re
import shlex
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        word: in upper case, ``RUN``.
        flags: its options, name → value: ``--from=code`` as ``{"from": "code"}``; of equal names the last.
        text: the rest, continuation lines joined.
    """

    word: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The rest, split as a shell splits it."""
        return shlex.split(self.text)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name (empty for none), what it is built on, its instructions."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        """Its instructions of one kind."""
        return [instruction for instruction in self.instructions if instruction.word == word]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file.

    Attributes:
        arguments: the build arguments before the first stage and their defaults.
        stages: in their order.
    """

    arguments: dict[str, str]
    stages: list[Stage]

    def stage(self, name: str) -> Stage:
        """The stage of this name."""
        return next(stage for stage in self.stages if stage.name == name)

    def lineage(self, name: str) -> list[Stage]:
        """A stage and those of this file that it is built on, the first of them first."""
        names = {stage.name for stage in self.stages}
        stage = self.stage(name)
        return [*(self.lineage(stage.base) if stage.base in names else []), stage]

    def environment(self, name: str) -> dict[str, str]:
        """What ENV sets in a stage, its bases included; ``$NAME`` stands as it is written."""
        pairs = [word for stage in self.lineage(name) for env in stage.all("ENV") for word in env.words]
        return dict(pair.split("=", 1) for pair in pairs)


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        ValueError: an instruction stands before the first stage that can't, or a line is none.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        instruction = _instruction(line)
        if instruction.word == "FROM":
            base, *rest = instruction.words
            stages.append(Stage(rest[1] if rest else "", _expanded(base, arguments)))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif instruction.word == "ARG":
            arguments |= dict(word.split("=", 1) for word in instruction.words)
        else:
            raise ValueError(f"{instruction.word} before the first FROM: {line}")
    return Dockerfile(arguments, stages)


def _instruction(line: str) -> Instruction:
    found = re.fullmatch(r"([A-Za-z]+)\s+((?:--\w[\w-]*=\S+\s+)*)(.*)", line)
    if found is None:
        raise ValueError(f"This is no instruction: {line}")
    flags = dict(re.findall(r"--([\w-]+)=(\S+)", found[2]))
    return Instruction(found[1].upper(), flags, found[3])


def _expanded(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)
