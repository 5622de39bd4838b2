"""Makes a Markdown page with tables and plots of the JSON files that edvr.benchmark has written.

    python -m edvr.benchmark --what=all --json=benchmarks/MACHINE.json
    python -m edvr.benchmark_page                                         writes benchmarks/README.md and its plots
"""
from edvr import flags
from edvr.benchmarks import page
from edvr.config.benchmark import PageConfig


def main():
    for path in page.make(flags.build(PageConfig).input_dir):
        print(path)


if __name__ == '__main__':
    flags.run(main, PageConfig)
