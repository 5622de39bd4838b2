"""Options of the demonstration."""
import dataclasses

from data_tools.base.config import Config, option


@dataclasses.dataclass(frozen=True)
class DemoConfig(Config):
    TITLE = 'demo'

    output_dir: str = option('demo_output', 'folder for all results of the demonstration', path='output')
    fresh: bool = option(False, 'delete the results of an earlier demonstration in output_dir and start over')
    steps: int = option(750, 'training steps; more steps restore better frames', low=1)
    seconds_before: int = option(0, 'seconds of the installation, added to the total time', low=0)
