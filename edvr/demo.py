"""Runs all programs: sample clips -> TFRecords -> training -> evaluation -> restored frames -> frozen graph.

Each step runs one program, as a user would, and shows its command. A second run skips the steps that are done
and continues an interrupted training. It ends with a table, which is also in summary.json.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from edvr import flags
from edvr.config.demo import DemoConfig


def main() -> None:
    """Runs the programs that are not done, and prints the table."""
    config = flags.build(DemoConfig)
    from edvr.demonstration import pipeline
    from edvr.demonstration.report import report
    from edvr.demonstration.steps import steps
    pipeline.prepare(config.output_dir, config.fresh)
    seconds = pipeline.run(config.output_dir, steps(config.output_dir, config.steps))
    report(config.output_dir, config.seconds_before + seconds)


def run() -> None:
    """Runs the program."""
    flags.run(main, DemoConfig)


if __name__ == '__main__':
    run()
