"""Programs of this project as processes, timed from their start, and the folders that they work on."""
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from typing import Iterator

from data_tools.base.errors import UserError
from data_tools.media.images import write_png
from data_tools.sample.scene import Scene


def run(module: str, *arguments: str) -> float:
    """Runs a program, and returns its wall time in seconds. Raises UserError with its last words if it fails."""
    with started(module, *arguments) as (process, start):
        process.communicate()
    return time.perf_counter() - start


@contextlib.contextmanager
def started(module: str, *arguments: str) -> Iterator[tuple]:
    """Yields a program's process and when it was started (of time.perf_counter); waits for its end.

    Raises:
      UserError: it fails; the text has the end of its output.
    """
    with tempfile.TemporaryFile('w+') as log:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, '-m', module] + list(arguments), stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process, start
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        if code:
            log.seek(0)
            raise UserError('%s %s ended with exit code %d: %s' % (module, ' '.join(arguments), code,
                                                                   log.read()[-500:].strip()))


def draw_clip(folder: str, frames: int, height: int, width: int) -> None:
    """Writes the PNG frames of a drawn clip."""
    os.makedirs(folder)
    scene = Scene([0, 0, 0], height, width)
    for number in range(frames):
        write_png(os.path.join(folder, '%08d.png' % number), scene.frame(number))


def size_of(folder: str) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)
