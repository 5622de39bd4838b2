"""Runs pipelines of Apache Beam: progress by counters, lost workers, one-line errors."""
import collections
import contextlib
import logging
import re
import sys
import threading
import time

from tqdm import tqdm

from data_tools.base import beam_options, processes
from data_tools.base.errors import UserError

_WORKER = 'apache_beam.runners.worker.sdk_worker_main'   # in the command line of Beam's worker processes
_ATTEMPTS = 4      # a worker that is killed each time ends the program
_PERIOD = 0.5      # seconds between two looks at a pipeline
_PATIENCE = 15.    # seconds that a pipeline may take to end after its workers
# in the last line of a worker's traceback, as it arrives in the runner's error
_USER_ERROR = re.compile(r'errors\.UserError: (.*)$', re.M)
_CLOSED = 'Channel closed prematurely'   # what a local runner says when it notices that a worker is gone
_STEP = re.compile(r' \[while running .*', re.S)


class _LostWorkerError(Exception):
    """A worker process of a local runner has ended before its pipeline."""


def run(config, build, counter, total, title, unit):
    """Runs a pipeline to its end.

    A worker process of a local runner that is killed makes the pipeline start anew, because Beam's local runners would
    wait for it forever; the runners of clusters repeat by themselves what was lost. Either way the elements must be
    such that repeating one does no harm.

    Args:
      config: BeamConfig with a runner.
      build: function(apache_beam.Pipeline) that adds the transforms; called again for each start.
      counter: (namespace, name) of the Beam counter that the progress bar shows.
      total: its value at the end. title, unit: of the bar.
    Returns:
      {name: value} of the counters of that namespace; empty where the runner has none.
    Raises:
      UserError: wrong options, a runner that does not work here, the error of a worker, or workers killed again and
        again.
    """
    beam_options.require()
    options = beam_options.parse(config)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _run_once(config.runner, options(), build, counter, total, title, unit)
        except _LostWorkerError:
            if attempt < _ATTEMPTS:
                print('a worker process of %s was killed; what it had not finished is done again' % config.runner,
                      file=sys.stderr, flush=True)
    raise UserError('worker processes of %s were killed %d times, perhaps by the out-of-memory killer: run the same '
                    'command again with fewer workers; finished work is kept' % (config.runner, _ATTEMPTS))


def _run_once(name, options, build, counter, total, title, unit):
    import apache_beam
    try:
        with beam_options.quiet():
            pipeline = apache_beam.Pipeline(runner=beam_options.new_runner(name), options=options)
            build(pipeline)
    except ValueError as error:   # options that do not go together
        raise UserError('--runner=%s: %s' % (name, ' '.join(str(error).split()))) from error
    # the workers of the local runner warn of what is always so with it
    level = logging.ERROR if name == 'DirectRunner' else logging.WARNING
    with beam_options.quiet(level), tqdm(total=total, desc=title, unit=unit, mininterval=0.5, smoothing=0.1) as bar:
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
        # at the end of a pipeline its workers end a moment before it does
        if since and time.monotonic() - since > _PATIENCE:
            raise _LostWorkerError
    error = running.error
    if error and not _user_error(error) and (since or _CLOSED in str(error)):
        raise _LostWorkerError


class _Running(threading.Thread):
    """A pipeline that runs in a thread: the local runners return only at its end."""

    def __init__(self, pipeline):
        super().__init__(daemon=True)   # a pipeline that lost its workers never ends
        self._pipeline, self._result, self.error = pipeline, None, None
        self.start()

    def run(self):
        try:
            self._result = self._pipeline.run()
            self._wait()
        except BaseException as error:   # raised where the pipeline is followed
            self.error = error

    def _wait(self):
        try:
            self._result.wait_until_finish()
        except Exception as error:
            from apache_beam.runners.runner import PipelineState
            # Beam stops listening to a job server after --job_server_timeout, a minute; the job goes on
            if not (hasattr(error, 'code') and error.code().name == 'DEADLINE_EXCEEDED'):
                raise
            while not PipelineState.is_terminal(self._result.state):
                time.sleep(_PERIOD)
            if self._result.state != PipelineState.DONE:
                raise

    def counters(self, namespace):
        """{name: value} of the counters so far; empty where the runner does not tell them."""
        if self._result is None:
            return {}
        with contextlib.suppress(Exception):   # not every runner has them, some only at the end
            if getattr(self._result, '_metrics', None) is not None:
                self._result._metrics = None   # portable runners keep their first answer
            sums = collections.Counter()   # several steps count under one name
            for item in self._result.metrics().query()['counters']:
                if item.key.metric.namespace == namespace:
                    sums[item.key.metric.name] += item.committed or item.attempted or 0
            return dict(sums)
        return {}

    def stop(self):
        """Ends the pipeline where the runner can, and the workers on this machine."""
        if self._result is not None:
            with contextlib.suppress(Exception):
                self._result.cancel()
        processes.kill(processes.descendants(_WORKER))


def _user_error(error):
    """The text of a worker's UserError in the error of a pipeline; '' where it is another error."""
    told = [str(error)] if isinstance(error, UserError) else _USER_ERROR.findall(str(error))
    return _STEP.sub('', told[-1]) if told else ''


def _reason(name, error):
    """The error of a pipeline in a line."""
    told = _user_error(error)
    if told:
        return told
    text = error.details() if hasattr(error, 'details') else str(error)   # of gRPC
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:   # the traceback of a worker
        print(text, file=sys.stderr, flush=True)
    return '%s ended with %s%s; finished work is kept: remove the cause and run the same command again' % (
        name, type(error).__name__, ': ' + lines[-1].strip() if lines else '')
