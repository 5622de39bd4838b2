"""Runs pipelines of Apache Beam: shows progress, restarts after lost workers, reports errors in one line."""
import collections
import contextlib
import logging
import pickle
import re
import sys
import threading
import time
import zlib
from typing import Any, Callable, Counter, Dict, Optional, Tuple

from data_tools.base import beam_options, processes
from data_tools.base.beam_config import BeamConfig, is_class
from data_tools.base.errors import UserError
from data_tools.base.progress import AUTO, progress_bar

_WORKER = 'apache_beam.runners.worker.sdk_worker_main'   # in the command line of Beam's worker processes
_ATTEMPTS = 4      # the program fails if workers are killed in each of them
_PERIOD = 0.5      # seconds between two checks of a pipeline
_PATIENCE = 15.    # seconds for a pipeline to end after its workers
# the last line of a worker's traceback, in the error of the runner
_USER_ERROR = re.compile(r'errors\.UserError: (.*)$', re.M)
_CLOSED = 'Channel closed prematurely'   # in the error of a local runner that detects a lost worker
_STEP = re.compile(r' \[while running .*', re.S)


class _LostWorkerError(Exception):
    """A worker process of a local runner has ended before its pipeline."""


class Packed:
    """A compressed value, for sending it to workers: long lists of similar names and numbers become short."""

    def __init__(self, value: Any) -> None:
        self._data = zlib.compress(pickle.dumps(value, 4))

    def get(self) -> Any:
        """Returns the value."""
        return pickle.loads(zlib.decompress(self._data))


def spread(numbers: Any, name: str, runner: str) -> Any:
    """Distributes elements among the workers.

    Reshuffle does this best, but it needs timestamps, which runners outside Beam may lack. With these, each element is
    a group of its own: all runners have GroupByKey.

    Args:
      numbers: a PCollection of int, each once.
      name: of the step.
      runner: of the config.
    Returns:
      the PCollection.
    """
    import apache_beam as beam
    if not is_class(runner):
        return numbers | name >> beam.Reshuffle()
    return (numbers
            | name + ', keys' >> beam.Map(lambda number: (number, None))
            | name >> beam.GroupByKey()
            | name + ', elements' >> beam.Map(lambda group: group[0]))


def run(config: BeamConfig, build: Callable[[Any], None], counter: Tuple[str, str], total: int, title: str,
        unit: str, kind: str = AUTO) -> Dict[str, int]:
    """Runs a pipeline to its end.

    If a worker process of a local runner is killed, the pipeline starts over: Beam's local runners would wait for the
    process forever. Runners of clusters repeat lost elements themselves. In both cases the pipeline must allow that an
    element is processed again.

    Args:
      config: has a runner.
      build: takes an apache_beam.Pipeline, adds the transforms; each attempt calls it again.
      counter: (namespace, name) of the Beam counter that the progress bar shows.
      total: final value of the counter.
      title, unit, kind: of the bar, see `progress_bar`.
    Returns:
      {name: value} of the counters of that namespace; empty if the runner has no counters.
    Raises:
      UserError: options are wrong, the runner does not work here, a worker failed, or workers were killed in each
        attempt.
    """
    options = beam_options.parse(config)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _run_once(config.runner, options(), build, counter, total, title, unit, kind)
        except _LostWorkerError:
            if attempt < _ATTEMPTS:
                print('a worker process of %s was killed; its unfinished work is repeated' % config.runner,
                      file=sys.stderr, flush=True)
    raise UserError('worker processes of %s were killed %d times, perhaps by the out-of-memory killer: run the same '
                    'command again with fewer workers; finished work is kept' % (config.runner, _ATTEMPTS))


def _run_once(name, options, build, counter, total, title, unit, kind):
    import apache_beam
    try:
        with beam_options.quiet():
            pipeline = apache_beam.Pipeline(runner=beam_options.new_runner(name), options=options)
            build(pipeline)
    except ValueError as error:   # conflicting options
        raise UserError('--runner=%s: %s' % (name, ' '.join(str(error).split()))) from error
    # the workers of the local runner always log the same warnings
    level = logging.ERROR if name == 'DirectRunner' else logging.WARNING
    with beam_options.quiet(level), \
            progress_bar(total=total, desc=title, unit=unit, smoothing=0.1, kind=kind) as bar:
        running = _Running(pipeline)
        try:
            _follow(running, counter, bar)
        except BaseException:
            running.stop()
            raise
        if running.error:
            raise UserError(_reason(name, running.error)) from running.error
        counters = running.counters(counter[0])
        bar.update(counters.get(counter[1], total) - bar.n)
    return counters


def _follow(running, counter, bar):
    """Shows progress until the pipeline ends."""
    workers, since = set(), None
    while running.is_alive():
        running.join(_PERIOD)
        bar.update(max(running.counters(counter[0]).get(counter[1], 0) - bar.n, 0))
        alive = set(processes.descendants(_WORKER))
        workers |= alive
        if not running.is_alive():
            break
        since = since or (time.monotonic() if workers - alive else None)
        # the workers of a finished pipeline end shortly before the pipeline
        if since and time.monotonic() - since > _PATIENCE:
            raise _LostWorkerError
    error = running.error
    if error and not _user_error(error) and (since or _CLOSED in str(error)):
        raise _LostWorkerError


class _Running(threading.Thread):
    """A pipeline that runs in a thread: the local runners return only at its end."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__(daemon=True)   # a pipeline that lost its workers never ends
        self._pipeline = pipeline
        self._result: Any = None
        self.error: Optional[BaseException] = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._pipeline.run()
            self._wait()
        except BaseException as error:   # the thread that follows the pipeline raises it
            self.error = error

    def _wait(self):
        try:
            self._result.wait_until_finish()
        except Exception as error:
            from apache_beam.runners.runner import PipelineState
            # Beam stops waiting for a job server after --job_server_timeout (a minute); the job continues
            if not (hasattr(error, 'code') and error.code().name == 'DEADLINE_EXCEEDED'):
                raise
            while not PipelineState.is_terminal(self._result.state):
                time.sleep(_PERIOD)
            if self._result.state != PipelineState.DONE:
                raise

    def counters(self, namespace: str) -> Dict[str, int]:
        """Returns {name: value} of the counters so far; empty if the runner does not report them."""
        if self._result is None:
            return {}
        with contextlib.suppress(Exception):   # some runners have no counters, others only at the end
            if getattr(self._result, '_metrics', None) is not None:
                self._result._metrics = None   # portable runners keep their first answer
            sums: Counter[str] = collections.Counter()   # several steps use the same name
            for item in self._result.metrics().query()['counters']:
                if item.key.metric.namespace == namespace:
                    sums[item.key.metric.name] += item.committed or item.attempted or 0
            return dict(sums)
        return {}

    def stop(self) -> None:
        """Cancels the pipeline if the runner supports it, and kills the workers on this machine."""
        if self._result is not None:
            with contextlib.suppress(Exception):
                self._result.cancel()
        processes.kill(processes.descendants(_WORKER))


def _user_error(error):
    """Returns the text of a worker's UserError in the error of a pipeline; '' for other errors."""
    texts = [str(error)] if isinstance(error, UserError) else _USER_ERROR.findall(str(error))
    return _STEP.sub('', texts[-1]) if texts else ''


def _reason(name, error):
    """Returns the error of a pipeline in one line."""
    reason = _user_error(error)
    if reason:
        return reason
    text = error.details() if hasattr(error, 'details') else str(error)   # of gRPC
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:   # the traceback of a worker
        print(text, file=sys.stderr, flush=True)
    return '%s ended with %s%s; finished work is kept: remove the cause and run the same command again' % (
        name, type(error).__name__, ': ' + lines[-1].strip() if lines else '')
