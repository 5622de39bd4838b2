"""Threads that write restored frames while the network computes."""
import queue
import threading
import typing


class BackgroundWriter:
    """Calls a function in threads, for items that come in order, with a bounded queue.

    The first error of the function ends the work: the next `put`, or the end of the `with` block, raises it. The end of
    the block waits until everything is written; after an exception, the waiting items are dropped.
    """

    def __init__(self, write: typing.Callable[..., None], threads: int = 2, depth: int = 4) -> None:
        """Starts the threads.

        Args:
          write: function(*item), called in a thread; with one thread, in order.
          threads: how many.
          depth: items that may wait.
        """
        self._write, self._dropped = write, False
        self._queue: queue.Queue[typing.Any] = queue.Queue(depth)
        self._error: typing.Optional[BaseException] = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, *item: typing.Any) -> None:
        """Queues an item; waits while the queue is full."""
        if self._error:
            raise self._error
        self._queue.put(item)

    def __enter__(self) -> 'BackgroundWriter':
        return self

    def __exit__(self, kind: typing.Any, error: typing.Any, trace: typing.Any) -> None:
        self._dropped = self._dropped or kind is not None
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        if self._error and kind is None:
            raise self._error

    def _work(self):
        while True:
            item = self._queue.get()
            if item is None:
                return
            if self._dropped:   # keep emptying the queue, or `put` would wait forever
                continue
            try:
                self._write(*item)
            except BaseException as error:   # any error must reach the thread that computes
                self._error, self._dropped = self._error or error, True
            del item   # a restored frame: its memory must not wait for the next one
