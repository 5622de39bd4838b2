"""Writes a checkpoint as one graph file, checked against the checkpoint before it gets its name.

    python -m edvr.export --checkpoint=train --output=EDVR.pb
    python -m edvr.export --checkpoint=train --kernels=npu --batch_size=1 --height=180 --width=320   for Ascend
    python -m edvr.export --checkpoint=train --format=saved_model --output=serving/edvr/1              for serving
    python -m edvr.export --checkpoint=train --parts --output=EDVR.pb                                  in two parts
    python -m edvr.export --checkpoint=train --format=onnx --output=EDVR.onnx                          for ONNX

The input node is `L_input`, the output node `SR_output`. Beside EDVR.pb lies EDVR.json: shapes, types, value ranges,
checksum, the network. From Python: `edvr.exporting.export_job.export`.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from edvr import flags
from edvr.config.export import ExportConfig


def main() -> None:
    """Writes the graph."""
    config = flags.build(ExportConfig)
    from edvr.exporting.export_job import export
    export(config)


def run() -> None:
    """Runs the program."""
    flags.run(main, ExportConfig)


if __name__ == '__main__':
    run()
