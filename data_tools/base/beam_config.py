"""The options of programs that can distribute their work to many machines."""
import dataclasses
from typing import Iterator

from data_tools.base.config import Config, option

RUNNERS = ('DirectRunner', 'FlinkRunner', 'SparkRunner', 'DataflowRunner', 'DaskRunner', 'PortableRunner',
           'PrismRunner')


def is_class(runner: str) -> bool:
    """Returns whether a runner is given as MODULE.CLASS, not by a name of RUNNERS."""
    return '.' in runner and all(part.isidentifier() for part in runner.split('.'))


@dataclasses.dataclass(frozen=True)
class BeamConfig(Config):
    """The runner of Apache Beam, if one does the work."""

    TITLE = 'Apache Beam'

    runner: str = option('', 'runner of Apache Beam that does the work on many machines: %s, or the class of another '
                         'as MODULE.CLASS; empty does the work on this machine, without Beam' % ', '.join(RUNNERS),
                         common=True)
    beam_options: str = option('', 'options of the runner, separated by spaces, as in --beam_options="--direct_'
                               'num_workers=2 --direct_running_mode=multi_processing"')

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.runner and self.runner not in RUNNERS and not is_class(self.runner):
            yield ('runner is %r; it must be one of %s, a class such as package.module.Runner, or empty'
                   % (self.runner, ', '.join(RUNNERS)))
        if self.beam_options and not self.runner:
            yield 'beam_options are given without --runner; name the runner that uses them'
