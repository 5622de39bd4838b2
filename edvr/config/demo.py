"""Options of the demonstration."""
import dataclasses

from data_tools.base.config import Config, option


@dataclasses.dataclass(frozen=True)
class DemoConfig(Config):
    TITLE = 'demo'

    output_dir: str = option('demo_output', 'folder for everything the demonstration makes')
    fresh: bool = option(False, 'delete what an earlier demonstration made in output_dir and start over')
    steps: int = option(500, 'training steps; the more, the better the restored frames', low=1)
    seconds_before: int = option(0, 'seconds already spent on installation, to be counted in', low=0)
