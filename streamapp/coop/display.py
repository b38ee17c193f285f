"""The progress of a training on the terminal; plain lines where the output is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamapp.coop.training import Epoch
from streamapp.local.display import counted

_PLAIN_LINES = 10


class ConsoleProgress:
    """Shows pictures being read, then epochs with the accuracy and the time that is left."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def reading(self, pictures: int) -> Iterator[Callable[[], None]]:
        """A bar of pictures; the function that it gives counts one."""
        with counted(self._console, "Reading pictures", pictures) as count:
            yield count

    @contextmanager
    def learning(self, epochs: int) -> Iterator[Callable[[Epoch], None]]:
        """A bar of epochs; the function that it gives takes one, the start included."""
        best = 0.0
        if not self._console.is_terminal:
            every = max(1, epochs // _PLAIN_LINES)

            def say(epoch: Epoch) -> None:
                nonlocal best
                best = max(best, epoch.validation_accuracy)
                if epoch.number % every == 0:
                    self._console.print(f"  Epoch {epoch.number} of {epochs}: {_accuracies(epoch, best)}")

            yield say
            return
        columns = (TextColumn("Learning"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.description}"), console=self._console) as bar:
            task = bar.add_task("", total=epochs)

            def move(epoch: Epoch) -> None:
                nonlocal best
                best = max(best, epoch.validation_accuracy)
                bar.update(task, completed=epoch.number, description=_accuracies(epoch, best))

            yield move


def _accuracies(epoch: Epoch, best: float) -> str:
    learning = "" if epoch.training_accuracy is None else f"training {epoch.training_accuracy:.1%}, "
    return f"{learning}validation {epoch.validation_accuracy:.1%}, best {best:.1%}"
