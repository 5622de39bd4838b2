"""Runs pipelines of Apache Beam: options, progress by counters, lost workers, one-line errors.

Beam is imported when a pipeline is run: programs work without it as long as --runner is not given.
"""
import collections
import contextlib
import io
import logging
import os
import re
import shlex
import sys
import threading
import time

from tqdm import tqdm

from data_tools.base import processes
from data_tools.base.errors import UserError

INSTALL = "pip install 'edvr[beam]', in a checkout pip install '.[beam]'"
_WORKER = 'apache_beam.runners.worker.sdk_worker_main'   # in the command line of Beam's worker processes
_CLASSES = {'DaskRunner': 'apache_beam.runners.dask.dask_runner.DaskRunner'}   # those that Beam knows by class only
_ATTEMPTS = 4      # a worker that is killed each time ends the program
_PERIOD = 0.5      # seconds between two looks at a pipeline
_PATIENCE = 15.    # seconds that a pipeline may take to end after its workers
# in the last line of a worker's traceback, as it arrives in the runner's error
_USER_ERROR = re.compile(r'errors\.UserError: (.*)$', re.M)
_CLOSED = 'Channel closed prematurely'   # what a local runner says when it notices that a worker is gone
_STEP = re.compile(r' \[while running .*', re.S)


class _LostWorkerError(Exception):
    """A worker process of a local runner has ended before its pipeline."""


def require():
    """Raises UserError unless Beam is installed."""
    try:
        with _quiet():
            import apache_beam  # noqa: F401
    except ImportError as error:
        raise UserError('--runner needs Apache Beam (%s): %s' % (error, INSTALL)) from None


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
    require()
    options = parse_options(config)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _run_once(config.runner, options(), build, counter, total, title, unit)
        except _LostWorkerError:
            if attempt < _ATTEMPTS:
                print('a worker process of %s was killed; what it had not finished is done again' % config.runner,
                      file=sys.stderr, flush=True)
    raise UserError('worker processes of %s were killed %d times, perhaps by the out-of-memory killer: run the same '
                    'command again with fewer workers; finished work is kept' % (config.runner, _ATTEMPTS))


def parse_options(config):
    """A function that makes the PipelineOptions of a BeamConfig; a runner changes those that it gets.

    Raises:
      UserError: a runner that this Beam does not have, options that it does not know or that have a wrong value.
    """
    from apache_beam.options.pipeline_options import PipelineOptions
    _new_runner(config.runner)   # some runners define their options when they are loaded
    try:
        words = shlex.split(config.beam_options)
    except ValueError as error:
        raise UserError('--beam_options=%s: %s' % (config.beam_options, error)) from None
    others = unknown(words)
    if any(word.split('=')[0] == '--runner' for word in words):
        raise UserError('--beam_options names a runner; --runner=NAME is an option of its own')
    if others and config.runner in ('FlinkRunner', 'SparkRunner', 'PortableRunner', 'PrismRunner'):
        print('passed on to the job server of %s: %s' % (config.runner, ' '.join(others)), flush=True)
    elif others:
        raise UserError('--beam_options: %s has no option %s' % (config.runner, ' '.join(others)))
    return lambda: PipelineOptions(words + _usual(config.runner, words))


def _usual(runner, words):
    """Options that are added to those given."""
    level = '--default_sdk_harness_log_level'
    added = [] if any(word.startswith(level) for word in words) else [level + '=WARNING']
    if runner == 'DirectRunner':
        # without it newer ones download and take Prism, which has no worker processes that can be counted; the
        # pipelines here have no triggers
        added.append('--allow_unsafe_triggers')
    return added


def unknown(words):
    """The words that are no option of this Beam. Raises UserError for a wrong value."""
    from apache_beam.options.pipeline_options import PipelineOptions
    parsers, said = [], io.StringIO()
    try:
        with contextlib.redirect_stderr(said), _quiet():
            PipelineOptions(words).get_all_options(add_extra_args_fn=parsers.append)
            return parsers[0].parse_known_args(words)[1]
    except SystemExit:
        text = said.getvalue().strip().splitlines()[-1].partition('error: ')[2]
        raise UserError('--beam_options: %s' % text) from None


@contextlib.contextmanager
def _quiet(level=logging.ERROR):
    """Beam logs nothing below `level` inside the block; messages of a cluster come by the root logger."""
    loggers = [logging.getLogger('apache_beam'), logging.getLogger()]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, own in zip(loggers, before):
            logger.setLevel(own)


def _new_runner(name):
    import apache_beam
    from apache_beam.runners.runner import create_runner
    try:
        with _quiet():
            return create_runner(_CLASSES.get(name, name))
    except Exception as error:   # packages that are missing show up as errors of many kinds
        raise UserError('--runner=%s cannot be loaded by Apache Beam %s: %s'
                        % (name, apache_beam.__version__, error)) from None


def _run_once(name, options, build, counter, total, title, unit):
    import apache_beam
    try:
        with _quiet():
            pipeline = apache_beam.Pipeline(runner=_new_runner(name), options=options)
            build(pipeline)
    except ValueError as error:   # options that do not go together
        raise UserError('--runner=%s: %s' % (name, ' '.join(str(error).split()))) from error
    # the workers of the local runner warn of what is always so with it
    level = logging.ERROR if name == 'DirectRunner' else logging.WARNING
    with _quiet(level), tqdm(total=total, desc=title, unit=unit, mininterval=0.5, smoothing=0.1) as bar:
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


def absolute(path):
    """A path that means the same to workers, whose current folder is another; '' and gs://... as they are."""
    return os.path.abspath(path) if path and '://' not in path else path
