"""The whole line from nothing: sample clips -> TFRecords -> training -> evaluation -> restored frames -> frozen graph.

Every station runs one program, as a user would, and shows its command. A second run skips the stations that are done
and continues an interrupted training. It ends with a table, which is also in summary.json.
"""
from edvr import flags
from edvr.config.demo import DemoConfig
from edvr.demonstration import line
from edvr.demonstration.report import report
from edvr.demonstration.stations import stations


def main():
    config = flags.build(DemoConfig)
    line.prepare(config.output_dir, config.fresh)
    seconds = line.run_line(config.output_dir, stations(config.output_dir, config.steps))
    report(config.output_dir, config.seconds_before + seconds)


if __name__ == '__main__':
    flags.run(main, DemoConfig)
