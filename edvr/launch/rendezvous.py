"""The ranks of a job exchange values over TCP before anything is computed: each gets the values of all.

Rank 0 listens; the others connect, send one line of JSON, and receive one line with all values. The protocol is not
authenticated, and the values are only compared and shown; use it in networks that you trust, like the collectives.
"""
import contextlib
import json
import socket
import sys
import time
from typing import Any, Dict, List, Tuple

from data_tools.base.errors import UserError

_PAUSE = .1         # seconds between attempts to connect
_NOTE_EVERY = 30.   # seconds between lines that name the missing ranks
_HELLO = 10.        # seconds that a connection has to say which rank it is: it may be none
_MOST_BYTES = 2 ** 24


def all_gather(value: Any, rank: int, size: int, address: Tuple[str, int], timeout: float) -> List[Any]:
    """Returns the values of all ranks, in order of rank, when all have arrived.

    Args:
      value: anything that JSON can express.
      rank: the number of this rank.
      size: the number of ranks.
      address: (host, port) at which rank 0 listens.
      timeout: seconds.
    Raises:
      UserError: the port of rank 0 is in use, or not all ranks connected in time; names those that are missing.
    """
    deadline = time.monotonic() + timeout
    return _serve(value, size, address, deadline) if rank == 0 else _connect(value, rank, size, address, deadline)


def _serve(value: Any, size: int, address: Tuple[str, int], deadline: float) -> List[Any]:
    values = {0: value}
    connections: Dict[int, socket.socket] = {}
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(('', address[1]))
        except OSError as error:
            raise UserError('rank 0 cannot use the port %d of this host (%s): %s; end the job that uses it, or choose '
                            'others with --port, the same on all hosts'
                            % (address[1], socket.gethostname(), error.strerror)) from None
        server.listen(size)
        try:
            while len(values) < size:
                missing = sorted(set(range(size)) - set(values))
                connection = _accept(server, deadline, 'rank%s %s of %d' % (
                    's' if len(missing) > 1 else '', ', '.join(map(str, missing)), size))
                _register(connection, size, values, connections)
            answer = [values[rank] for rank in range(size)]
            for connection in connections.values():
                with contextlib.suppress(OSError):   # the process that started a rank detects its end
                    _send(connection, answer)
                    # until it closes: the side that closes first keeps its port in use for a while
                    connection.recv(1)
            return answer
        finally:
            for connection in connections.values():
                connection.close()


def _accept(server: socket.socket, deadline: float, missing: str) -> socket.socket:
    noted = time.monotonic()
    while True:
        server.settimeout(max(.01, min(_NOTE_EVERY, deadline - time.monotonic())))
        try:
            connection, _ = server.accept()
            connection.settimeout(_HELLO)
            return connection
        except socket.timeout:
            if time.monotonic() >= deadline:
                raise UserError('%s did not start in time: start the same command on every host, or give them longer '
                                'with --start_timeout' % missing) from None
        if time.monotonic() - noted >= _NOTE_EVERY:
            noted = time.monotonic()
            print('waiting for %s' % missing, file=sys.stderr, flush=True)


def _register(connection: socket.socket, size: int, values: Dict[int, Any],
              connections: Dict[int, socket.socket]) -> None:
    """Receives the value of a rank; refuses connections of anything else."""
    try:
        message = _receive(connection)
        rank, sizes = message['rank'], message['size']
    except (OSError, ValueError, TypeError, KeyError):
        connection.close()
        return
    if sizes != size or not isinstance(rank, int) or not 0 < rank < size or rank in values:
        with connection:
            _send(connection, 'this rank is %s of %s, but rank 0 waits for the %d ranks of another job, or has this '
                  'rank already: end the other job, or choose another --port' % (rank, sizes, size))
        return
    values[rank], connections[rank] = message['value'], connection


def _connect(value: Any, rank: int, size: int, address: Tuple[str, int], deadline: float) -> List[Any]:
    noted = time.monotonic()
    while True:
        try:
            with socket.create_connection(address, max(1., deadline - time.monotonic())) as host:
                _send(host, dict(rank=rank, size=size, value=value))
                answer = _receive(host)
            break
        except (OSError, ValueError):
            if time.monotonic() >= deadline:
                raise UserError('rank 0 was not found at %s:%d in time: start the same command on its host, and see '
                                'that this port is reachable from here' % address) from None
        if time.monotonic() - noted >= _NOTE_EVERY:
            noted = time.monotonic()
            print('rank %d waits for rank 0 at %s:%d' % ((rank,) + address), file=sys.stderr, flush=True)
        time.sleep(_PAUSE)
    if isinstance(answer, str):
        raise UserError(answer)
    return answer


def _send(connection: socket.socket, value: Any) -> None:
    connection.sendall((json.dumps(value) + '\n').encode())


def _receive(connection: socket.socket) -> Any:
    """Returns the value of one line. Raises ValueError if the line is cut or no JSON."""
    data = bytearray()
    while not data.endswith(b'\n'):
        part = connection.recv(65536)
        if not part or len(data) > _MOST_BYTES:
            raise ValueError('cut')
        data += part
    return json.loads(data.decode())
