"""Long work: in a thread of its own, with its progress shown as it goes."""

import contextvars
import queue
import threading
import time

import fiftyone.operators as foo
from fiftyone.operators.executor import ExecutionResult
from fiftyone.operators.message import GeneratedMessage, MessageType

# Seconds between two messages to the App, which draws each of them.
_PAUSE = 0.2


def config_of(name, label, description, icon):
    """The configuration of an operator that works for long."""
    return foo.OperatorConfig(
        name=name,
        label=label,
        description=description,
        icon=icon,
        dynamic=True,
        execute_as_generator=True,
        allow_immediate_execution=True,
        allow_delegated_execution=True,
    )


class Stopped(Exception):
    """Whoever wanted the work's progress has gone."""


class Report:
    """Tells how far the work is; called with the share (0 to 1, None = nobody knows) and a label.

    Attributes:
        stop: set when the work should end; the next call raises :class:`Stopped`
    """

    def __init__(self, tell):
        self._tell, self._last = tell, 0.0
        self.stop = threading.Event()

    def __call__(self, share, label):
        if self.stop.is_set():
            raise Stopped
        now = time.monotonic()
        if now - self._last >= _PAUSE or share == 1:
            self._last = now
            self._tell(share, label)


def carry_out(ctx, work, after=None):
    """Do what an operator's ``execute`` is to do, with its progress shown.

    What is wrong with the call must have been found before: what follows is in mid-stream.

    Args:
        work: called with a :class:`Report`; returns the output
        after: called with the output; returns what the App is to do then

    Returns:
        the output of a delegated operation, else a generator of messages to the App
    """
    if ctx.delegated:
        return work(Report(lambda share, label: ctx.set_progress(progress=share, label=label)))
    return _messages(ctx, work, after or (lambda output: ()))


def _messages(ctx, work, after):
    output = yield from _reports(ctx, work)
    yield from after(output)
    yield GeneratedMessage(MessageType.SUCCESS, ExecutionResult, Output(output))


def _reports(ctx, work):
    """Yield a message for each report of the work, which a thread does; returns its output."""
    told = queue.SimpleQueue()
    report = Report(lambda share, label: told.put((share, label)))
    done = []

    def do():
        try:
            done.append((work(report), None))
        except BaseException as error:
            done.append((None, error))
        finally:
            told.put(None)

    # FiftyOne keeps who asks in the context.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(do,), daemon=True)
    thread.start()
    try:
        while (each := told.get()) is not None:
            share, label = each
            yield ctx.ops.set_progress(label=label, progress=share)
    finally:
        report.stop.set()
        thread.join()
    output, error = done[0]
    if error is not None:
        raise error
    return output


class Output:
    """The result of a generator in the shape that the App reads it."""

    def __init__(self, result):
        self.result = result

    def to_json(self):
        return self.result
