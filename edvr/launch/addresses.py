"""Addresses and ports of this host."""
import contextlib
import errno
import socket
from typing import Iterable, List, Sequence

from data_tools.base.errors import UserError


def is_local(host: str) -> bool:
    """Returns whether a name or an address is one of this host. Raises UserError if a name cannot be resolved."""
    try:
        candidates = {str(item[4][0]) for item in socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)}
    except OSError as error:
        raise UserError('the host %r cannot be resolved: %s; give its address' % (host, error)) from None
    return any(_can_bind(address, 0) for address in candidates)


def is_own(address: str) -> bool:
    """Returns whether an IPv4 address is one of this host; False for anything else."""
    try:
        socket.inet_pton(socket.AF_INET, address)   # inet_aton takes names such as 0, which any host could bind
    except OSError:
        return False
    return _can_bind(address, 0)


def this_host(hosts: Sequence[str], named: str, origin: str) -> int:
    """Returns the index of this host in `hosts`.

    Args:
      hosts: names or addresses.
      named: the name that the user gives for this host, or ''.
      origin: the source of the list, for errors.
    Raises:
      UserError: none of them is this host, or several are.
    """
    if named:
        if named not in hosts:
            raise UserError('--this_host=%s is not a host of %s, which has %s' % (named, origin, ', '.join(hosts)))
        return list(hosts).index(named)
    found = [host for host in hosts if is_local(host)]
    if len(found) != 1:
        raise UserError('%s names the hosts %s, of which %s; say which one this is with --this_host' % (
            origin, ', '.join(hosts),
            '%s are all this host (%s)' % (', '.join(found), socket.gethostname()) if found else
            'none is this host (%s)' % socket.gethostname()))
    return list(hosts).index(found[0])


def address_of(host: str) -> str:
    """Returns the address of one of several hosts by its name. Raises UserError if others could not reach it."""
    try:
        address = socket.gethostbyname(host)
    except OSError as error:
        raise UserError('the host %r cannot be resolved: %s; give its address' % (host, error)) from None
    if address.startswith('127.'):
        raise UserError('the host %r resolves to %s, at which other hosts do not find it: give its address in --hosts'
                        % (host, address))
    return address


def own_address() -> str:
    """Returns an address of this host by which others may reach it, else the loopback address."""
    with contextlib.suppress(OSError):
        address = socket.gethostbyname(socket.gethostname())
        if _can_bind(address, 0):
            return address
    return '127.0.0.1'


def free_ports(count: int) -> List[int]:
    """Returns ports on which no process listens now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(('localhost', 0))
        ports = [one.getsockname()[1] for one in sockets]
    return ports


def require_free(ports: Iterable[int]) -> None:
    """Raises UserError naming the first port that another process uses."""
    for port in ports:
        if not _can_bind('', port):
            raise UserError('the port %d of this host (%s) is in use: end the job that uses it, or choose others with '
                            '--port, the same on all hosts' % (port, socket.gethostname()))


def _can_bind(address: str, port: int) -> bool:
    with socket.socket() as one:
        # a port of a job that has just ended is free
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
                return False
            raise
    return True
