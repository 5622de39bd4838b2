"""What limits the speed of a training: the device, or the part of the input that the device waits for."""
from typing import NamedTuple, Optional

MUCH = .1   # share of the time above which training waits for its input
# share of the decoding threads that are busy, from which on decoding is the reason; and shares of the cores: those that
# other processes use, and those that all use, from which on the host is
DECODING_BUSY, OTHERS, BUSY = .5, .25, .9

DEVICE, STORAGE, DECODING, HOST = 'the device', 'storage', 'decoding', 'the host'
ADVICE = {
    STORAGE: 'raise --crops_per_record or --read_threads, pack with --encoding=tiles, or use a faster disk',
    DECODING: 'raise --crops_per_record or --map_threads, pack with --encoding=raw, or use more cores',
    HOST: 'other processes use its cores: end them, or give them fewer threads'}


class InputUse(NamedTuple):
    """Describes what the input did in an interval.

    Attributes:
      read_mb_per_s: MB of records read in a second.
      decoding: share of the threads that decode that were busy.
      ready: samples that were prepared and not yet used, on average.
      batch: samples that this process takes in a step.
      own_cores: share of the cores of the host that this process used.
      all_cores: share that all processes used; that of this one where the system does not report it.
    """
    read_mb_per_s: float
    decoding: float
    ready: float
    batch: int
    own_cores: float
    all_cores: float


def find(wait: Optional[float], use: InputUse) -> str:
    """Returns DEVICE, STORAGE, DECODING or HOST.

    Args:
      wait: share of the time that training waits for its input; None if it is not measured: then it waits if less than
        half a batch is ready.
      use: of the input.
    """
    if wait <= MUCH if wait is not None else use.ready >= use.batch / 2:
        return DEVICE
    if use.all_cores - use.own_cores >= OTHERS and use.all_cores >= BUSY:
        return HOST
    return DECODING if use.decoding >= DECODING_BUSY else STORAGE


def describe(wait: Optional[float], use: Optional[InputUse]) -> str:
    """Returns the part of the log line on the input; `use` is None for constants."""
    text = 'data wait not measured on this device' if wait is None else (
        'input-bound' if wait <= MUCH else 'waits for data') + ' %.0f%%' % (100 * wait)
    if use is None:
        return text
    limit = find(wait, use)
    if limit != DEVICE:
        text += ': %s is too slow (decoding threads busy %.0f%%, cores %.0f%%, with other processes %.0f%%): %s' % (
            limit, 100 * use.decoding, 100 * use.own_cores, 100 * use.all_cores, ADVICE[limit])
    return text + ', read %.1f MB/s, %.0f samples ready' % (use.read_mb_per_s, use.ready)
