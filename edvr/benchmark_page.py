"""Makes a Markdown page with tables and plots of the JSON files that edvr.benchmark has written.

    python -m edvr.benchmark --what=all --json=benchmarks/MACHINE.json
    python -m edvr.benchmark_page                                         writes benchmarks/README.md and its plots
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from edvr import flags
from edvr.config.benchmark import PageConfig


def main() -> None:
    """Writes the page, and prints the paths of its files."""
    config = flags.build(PageConfig)
    from edvr.benchmarks import page
    for path in page.make(config.input_dir):
        print(path)


def run() -> None:
    """Runs the program."""
    flags.run(main, PageConfig)


if __name__ == '__main__':
    run()
