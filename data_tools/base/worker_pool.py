"""A pool of worker processes for long jobs: progress with ETA, clean termination, no orphans."""
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Sequence

from data_tools.base.errors import UserError
from data_tools.base.progress import progress_bar


class StoppedError(Exception):
    """The program is ending: the worker abandons its item."""


_shared: Dict[str, Any] = {}   # in a worker: the counters and the flag that it shares with the parent
_thread = threading.local()   # its `count`: the counter of a worker of another pool


@contextlib.contextmanager
def counting(count: Callable[[int, int], Any]) -> Iterator[None]:
    """Makes `report` call `count(items, size)` inside the block, in this thread: for other pools than this one."""
    before, _thread.count = getattr(_thread, 'count', None), count
    try:
        yield
    finally:
        _thread.count = before


def report(items: int = 0, size: int = 0) -> None:
    """Counts items and bytes; workers call it after each item. Raises StoppedError when the program is ending."""
    if getattr(_thread, 'count', None):
        _thread.count(items, size)
    if _shared:
        with _shared['lock']:
            _shared['items'].value += items
            _shared['bytes'].value += size
        if _shared['stop'].value:
            raise StoppedError


def run(function: Callable[..., Any], tasks: Sequence[tuple], workers: int, title: str, total: int, unit: str,
        context: str = 'fork') -> List[Any]:
    """Calls `function(*task)` for all tasks in worker processes.

    Args:
      function: picklable; calls `report` after each item.
      tasks: the arguments of each call.
      workers: number of processes.
      title, total, unit: for the progress bar; total items over all tasks.
      context: how processes start; 'spawn' where libraries have started threads before.
    Returns:
      The results, in the order of the tasks.
    Raises:
      UserError: the first one a worker raised, or a worker that was killed.
    """
    if not tasks:
        return []
    started: Any = multiprocessing.get_context(context)
    shared = dict(lock=started.Lock(), items=started.RawValue('q', 0), bytes=started.RawValue('q', 0),
                  stop=started.RawValue('b', 0))
    with concurrent.futures.ProcessPoolExecutor(min(workers, len(tasks)), mp_context=started, initializer=_start_worker,
                                                initargs=(shared, os.getpid())) as pool:
        futures = []
        try:
            futures += [pool.submit(function, *task) for task in tasks]   # fails where a worker is killed meanwhile
            with progress_bar(total=total, desc=title, unit=unit, smoothing=0.1) as bar:
                _follow(futures, shared, bar)
            return [future.result() for future in futures]
        except BaseException as error:
            shared['stop'].value = 1
            for future in futures:
                future.cancel()
            if isinstance(error, concurrent.futures.process.BrokenProcessPool):
                raise UserError('a worker process was killed, perhaps by the out-of-memory killer: run the same '
                                'command again with fewer --workers; finished work is kept') from error
            raise


def _follow(futures, shared, bar):
    """Shows progress until all tasks are done; raises the error of the first one that fails."""
    start, pending = time.time(), set(futures)
    while pending:
        done, pending = concurrent.futures.wait(pending, 0.25, concurrent.futures.FIRST_EXCEPTION)
        for future in done:
            future.result()
        bar.set_postfix_str('%.1f MB/s' % (shared['bytes'].value / 1e6 / max(time.time() - start, 1e-3)), refresh=False)
        bar.update(shared['items'].value - bar.n)


def _start_worker(shared, parent):
    _shared.update(shared)
    for number in (signal.SIGINT, signal.SIGHUP):   # these reach the process group; the parent stops the workers
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent):
    """Ends this worker when its parent is killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def available_cores() -> int:
    """Returns the number of cores that this process may use; a container or `taskset` may limit them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
