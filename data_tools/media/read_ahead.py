"""Reads frames in a thread, ahead of their use."""
import queue
import threading
import typing


def read_ahead(items: typing.Iterable[typing.Any], depth: int = 4) -> typing.Generator[typing.Any, None, None]:
    """Yields the items of an iterator that a thread runs, at most `depth` items ahead; raises the iterator's error."""
    waiting: queue.Queue[typing.Tuple[typing.Any, typing.Optional[BaseException]]] = queue.Queue(depth)
    stopped = threading.Event()

    def hand_over(item: typing.Any, error: typing.Optional[BaseException]) -> None:
        while not stopped.is_set():
            try:
                return waiting.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                hand_over(item, None)
                if stopped.is_set():
                    break
            else:
                hand_over(None, StopIteration())
        except BaseException as error:   # raised where the items are used
            hand_over(None, error)
        finally:
            if stopped.is_set() and hasattr(items, 'close'):
                items.close()   # ends the decoder

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error:
                raise error
            yield item
    finally:
        stopped.set()
        thread.join()
