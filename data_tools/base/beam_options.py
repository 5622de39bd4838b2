"""Checks the runners of Apache Beam and their options before the work starts.

Functions import Beam when they are called, so programs work without Beam if --runner is not given.
"""
import contextlib
import functools
import importlib
import io
import logging
import os
import shlex
from typing import Any, Callable, Iterator, List

from data_tools.base import files
from data_tools.base.beam_config import BeamConfig, is_class
from data_tools.base.errors import UserError

INSTALL = "pip install 'edvr[beam]', in a checkout pip install '.[beam]'"
_CLASSES = {'DaskRunner': 'apache_beam.runners.dask.dask_runner.DaskRunner'}   # runners without a short name in Beam


def require() -> None:
    """Raises UserError unless Beam is installed."""
    try:
        with quiet():
            import apache_beam  # noqa: F401
    except ImportError as error:
        raise UserError('--runner needs Apache Beam (%s): %s' % (error, INSTALL)) from None


def parse(config: BeamConfig) -> Callable[[], Any]:
    """Returns a function that makes the PipelineOptions of a config. Each run needs new ones: a runner changes them.

    Raises:
      UserError: Beam is not installed, lacks the runner, does not know an option, or rejects its value.
    """
    require()
    return _parse(config.runner, config.beam_options)


@functools.lru_cache(maxsize=None)   # programs check the options before the work that precedes the pipeline
def _parse(runner, text):
    from apache_beam.options.pipeline_options import PipelineOptions
    new_runner(runner)   # some runners define their options when they are loaded
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError('--beam_options=%s: %s' % (text, error)) from None
    others = unknown(words)
    if any(word.split('=')[0] == '--runner' for word in words):
        raise UserError('--beam_options names a runner: give it as --runner=NAME instead')
    if others and runner in ('FlinkRunner', 'SparkRunner', 'PortableRunner', 'PrismRunner'):
        print('passed on to the job server of %s: %s' % (runner, ' '.join(others)), flush=True)
    elif others:
        raise UserError('--beam_options: %s has no option %s' % (runner, ' '.join(others)))
    return lambda: PipelineOptions(words + _usual(runner, words))


def _usual(runner, words):
    """Returns the options to add to `words`."""
    level = '--default_sdk_harness_log_level'
    added = [] if any(word.startswith(level) for word in words) else [level + '=WARNING']
    if runner == 'DirectRunner':
        # without it newer versions download and use Prism, whose worker processes cannot be counted; the pipelines
        # here have no triggers
        added.append('--allow_unsafe_triggers')
    return added


def unknown(words: List[str]) -> List[str]:
    """Returns the words that are not options of this Beam. Raises UserError for a wrong value."""
    from apache_beam.options.pipeline_options import PipelineOptions
    parsers: List[Any] = []
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), quiet():
            PipelineOptions(words).get_all_options(add_extra_args_fn=parsers.append)
            return parsers[0].parse_known_args(words)[1]
    except SystemExit:
        text = said.getvalue().strip().splitlines()[-1].partition('error: ')[2]
        raise UserError('--beam_options: %s' % text) from None


@contextlib.contextmanager
def quiet(level: int = logging.ERROR) -> Iterator[None]:
    """Suppresses log messages of Beam below `level` inside the block; messages of a cluster use the root logger."""
    loggers = [logging.getLogger('apache_beam'), logging.getLogger()]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, own in zip(loggers, before):
            logger.setLevel(own)


def new_runner(name: str) -> Any:
    """Makes a runner from its name or class. Raises UserError if it cannot be loaded, or is no runner of Beam."""
    import apache_beam
    from apache_beam.runners.runner import PipelineRunner, create_runner
    try:
        with quiet():
            if not is_class(name):
                return create_runner(_CLASSES.get(name, name))
            module, _, attribute = name.rpartition('.')
            found = getattr(importlib.import_module(module), attribute)
            if isinstance(found, type) and issubclass(found, PipelineRunner):
                return found()
    except Exception as error:   # a missing package causes errors of many kinds
        raise UserError('--runner=%s cannot be loaded by Apache Beam %s: %s: %s'
                        % (name, apache_beam.__version__, type(error).__name__, error)) from None
    raise UserError('--runner=%s is no runner of Apache Beam: give a class derived from '
                    'apache_beam.runners.runner.PipelineRunner' % name)


def absolute(path: str) -> str:
    """Returns an absolute path, since workers have another current folder; '' and gs://... stay unchanged."""
    return os.path.abspath(path) if path and not files.is_remote(path) else path
