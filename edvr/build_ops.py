"""Builds the compiled convolutions for this TensorFlow and this machine, and prints the path of the library.

    python -m edvr.build_ops

The first training or restoration on a CPU does it too. This program is for images and clusters that build beforehand.
"""
from data_tools.base import program
from edvr.model import native_library


def main():
    print(native_library.build())
    native_library.load()


if __name__ == '__main__':
    program.run(main)
