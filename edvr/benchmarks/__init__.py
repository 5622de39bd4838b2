"""The measurements of `edvr.benchmark`, and the page of their results.

The module of each subject has `run(benchmark, model, data, runtime)`, which takes the configurations of the program. It
returns a dict for each result, with `what`, `implementation`, `shape` (text) and numbers: see `report.COLUMNS` and
`measure.rates`. Each case runs in a separate process, whose `peak_rss_mb` is part of the result. `benchmark.compare`
names the kernels; without it those of `runtime` are measured.
"""
import edvr.graph_mode  # noqa: F401 before any graph is built
