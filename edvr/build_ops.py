"""Builds the compiled convolutions for this TensorFlow and this machine, and prints the path of the library.

    python -m edvr.build_ops

The first training or restoration on a CPU builds them too. This program is for container images and clusters, where
they are built in advance.
"""
from data_tools.base import program
from edvr.ops import native_library


def main():
    print(native_library.build())
    native_library.load()


if __name__ == '__main__':
    program.run(main)
