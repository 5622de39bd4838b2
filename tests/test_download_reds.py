"""Downloads from a real HTTP server on loopback that misbehaves in all the ways that servers do."""
import contextlib
import hashlib
import http.server
import os
import re
import shutil
import socket
import threading

import pytest
from archives import FRAMES, archive
from facts import check_error, raises_facts

from data_tools.base import files, lock
from data_tools.base.errors import UserError
from data_tools.reds import download, http_fetch

BODY = bytes(bytearray((i * 7919 + i // 251) % 256 for i in range(200000)))


class Server:
    """Serves `files` {path: bytes}; the knobs make it misbehave. `requests` notes (path, Range header)."""

    def __init__(self):
        self.files, self.requests = {}, []
        self.drop_after = []      # bytes after which the connection is cut, one for each of the first answers
        self.statuses = []        # statuses of the first answers, before it serves
        self.ranges = True
        self.extra_length = 0     # added to Content-Length, never sent
        self.etag = '"1"'
        self.shift = 0            # added to where a range answer starts
        self.url = None

    def answer(self, handler):
        wanted = handler.headers.get('Range')
        self.requests.append((handler.path, wanted))
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        if handler.path.startswith('/moved/'):
            handler.send_response(302)
            handler.send_header('Location', handler.path[len('/moved'):])
            handler.end_headers()
            return
        if handler.path not in self.files:
            handler.send_error(404)
            return
        data, start = self.files[handler.path], 0
        if wanted and self.ranges and handler.headers.get('If-Range') in (None, self.etag):
            start = int(re.match(r'bytes=(\d+)-$', wanted).group(1)) + self.shift
            if start >= len(data):
                handler.send_response(416)
                handler.send_header('Content-Range', 'bytes */%d' % len(data))
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(data) - 1, len(data)))
        else:
            handler.send_response(200)
        if self.etag:
            handler.send_header('ETag', self.etag)
        handler.send_header('Content-Length', str(len(data) - start + self.extra_length))
        handler.end_headers()
        handler.wfile.write(data[start:start + self.drop_after.pop(0)] if self.drop_after else data[start:])


@pytest.fixture
def server():
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(ConnectionError):
                state.answer(self)

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    state.url = 'http://127.0.0.1:%d' % httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={'poll_interval': .01})
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def get(server, tmp_path, **options):
    path = str(tmp_path / 'file.bin')
    server.files.setdefault('/file.bin', BODY)
    options.setdefault('retries', 3)
    http_fetch.fetch(server.url + '/file.bin', path, wait=0., timeout=5., **options)
    with open(path, 'rb') as file:
        return file.read()


def test_plain(server, tmp_path):
    assert get(server, tmp_path) == BODY
    assert os.listdir(str(tmp_path)) == ['file.bin']
    assert get(server, tmp_path) == BODY and len(server.requests) == 1   # there already: not asked again


def test_dropped_connections_are_resumed(server, tmp_path):
    server.drop_after = [50000, 70000, 0, 1]
    assert get(server, tmp_path) == BODY
    assert [wanted for _, wanted in server.requests] == [None, 'bytes=50000-', 'bytes=120000-', 'bytes=120000-',
                                                         'bytes=120001-']


def test_an_interrupted_process_continues(server, tmp_path):
    server.drop_after = [60000] + [0] * 2
    with raises_facts(UserError, 60000, '200000 bytes', 'kept'):
        get(server, tmp_path, retries=2)
    assert get(server, tmp_path) == BODY
    assert server.requests[-1][1] == 'bytes=60000-'


def test_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    server.drop_after = [50000, 90000]
    assert get(server, tmp_path) == BODY


def test_server_that_always_drops_is_given_up(server, tmp_path):
    server.ranges = False
    server.drop_after = [50000] * 50
    with pytest.raises(UserError, match='tries without progress'):
        get(server, tmp_path)
    assert len(server.requests) < 8 and not (tmp_path / 'file.bin').exists()


@pytest.mark.parametrize('etag', ['"2"', None])
def test_another_version_is_never_appended(server, tmp_path, etag):
    server.drop_after = [50000] + [0] * 2
    with pytest.raises(UserError):
        get(server, tmp_path, retries=2)
    # same length when the ETag tells; without one, the length must
    server.files['/file.bin'], server.etag = (BODY[::-1], etag) if etag else (BODY[::-1] + b'x', None)
    assert get(server, tmp_path) == server.files['/file.bin']


def test_range_answer_from_another_place_is_not_appended(server, tmp_path):
    server.drop_after, server.shift = [50000], 10
    assert get(server, tmp_path) == BODY
    assert server.requests[-1][1] is None


def test_partial_bytes_of_unknown_origin_are_dropped(server, tmp_path):
    (tmp_path / 'file.bin.partial').write_bytes(b'other')
    assert get(server, tmp_path) == BODY


def test_whole_partial_file_is_accepted(server, tmp_path):
    (tmp_path / 'file.bin.partial').write_bytes(BODY)   # killed before the renaming
    files.write_json(str(tmp_path / 'file.bin.partial.json'),
                     {'url': server.url + '/file.bin', 'size': len(BODY), 'version': '"1"'})
    assert get(server, tmp_path) == BODY
    assert [wanted for _, wanted in server.requests] == ['bytes=200000-']


def test_wrong_length_never_gives_a_file(server, tmp_path):
    server.extra_length = 5
    with pytest.raises(UserError, match='tries without progress'):
        get(server, tmp_path, retries=1)
    assert not (tmp_path / 'file.bin').exists()
    server.extra_length = 0
    assert get(server, tmp_path) == BODY


def test_server_errors_are_retried_and_refusals_not(server, tmp_path):
    server.statuses = [500, 503, 429]
    assert get(server, tmp_path) == BODY
    server.statuses = [404]
    with pytest.raises(UserError, match=r'404 Not Found.*--base_url'):
        http_fetch.fetch(server.url + '/none', str(tmp_path / 'none'), wait=0.)
    server.statuses = [500] * 9
    with pytest.raises(UserError, match=r'500 .*after 3 tries'):
        http_fetch.fetch(server.url + '/x', str(tmp_path / 'x'), retries=2, wait=0.)
    assert not (tmp_path / 'x').exists()


def test_redirections_are_followed_with_the_range(server, tmp_path):
    server.files['/file.bin'] = BODY
    server.drop_after = [80000]
    http_fetch.fetch(server.url + '/moved/file.bin', str(tmp_path / 'x'), wait=0.)
    assert (tmp_path / 'x').read_bytes() == BODY
    assert server.requests[-2:] == [('/moved/file.bin', 'bytes=80000-'), ('/file.bin', 'bytes=80000-')]


def test_no_server_and_silent_server(tmp_path):
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        url = 'http://127.0.0.1:%d/x' % listener.getsockname()[1]
        with pytest.raises(UserError, match='refused'):
            http_fetch.fetch(url, str(tmp_path / 'x'), retries=1, wait=0.)
        listener.listen(5)
        with pytest.raises(UserError, match='timed out'):
            http_fetch.fetch(url, str(tmp_path / 'x'), retries=1, wait=0., timeout=.1)
    assert not (tmp_path / 'x').exists()


def test_two_processes_do_not_download_one_archive(server, tmp_path):
    (tmp_path / 'downloads').mkdir()
    with lock.hold(str(tmp_path / 'downloads' / 'train_sharp.lock'), 'x', '--root_dir'), \
            raises_facts(UserError, 'another run', 'train_sharp.zip', '--root_dir'):
        download.get_subset('train_sharp', str(tmp_path), server.url)
    assert server.requests == []


def test_a_range_longer_than_declared_is_not_accepted(server, tmp_path):
    """A 206 answer declares the end of its range; the bytes behind it are not the file's."""
    server.drop_after = [50000]
    server.files['/file.bin'] = BODY
    plain, server.answer = server.answer, None

    def answer(handler):
        if not handler.headers.get('Range'):
            return plain(handler)
        handler.send_response(206)
        handler.send_header('Content-Range', 'bytes 50000-199999/200000')
        handler.send_header('ETag', server.etag)
        handler.end_headers()
        handler.wfile.write(BODY[50000:] + b'more')

    server.answer = answer
    with raises_facts(UserError, 'more than', '200000 bytes'):
        get(server, tmp_path, retries=1)
    assert not (tmp_path / 'file.bin').exists()


def test_a_body_of_unknown_length_is_refused(server, tmp_path):
    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(64):   # an end, should nothing stop it
                handler.wfile.write(b'x' * (1 << 20))

    server.answer = answer
    with raises_facts(UserError, 'file.bin', 'no length', '--base_url'):
        get(server, tmp_path)
    assert not (tmp_path / 'file.bin').exists() and (tmp_path / 'file.bin.partial').stat().st_size == 0


def test_a_file_that_is_too_large_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http_fetch, 'MAX_BYTES', len(BODY) - 1)
    with pytest.raises(UserError, match=r'the limit is 0\.0 GB'):
        get(server, tmp_path)
    monkeypatch.undo()
    free = shutil.disk_usage(str(tmp_path)).free
    server.extra_length = free
    with raises_facts(UserError, 'GB', 'free', 'free some space'):
        get(server, tmp_path)
    assert (tmp_path / 'file.bin.partial').stat().st_size == 0


@pytest.mark.parametrize('length', ['\u00b2', '1_0', '-1', '1e3', '9' * 30, ''])
def test_lengths_that_are_no_numbers(server, tmp_path, length):
    def answer(handler):
        handler.send_response(200)
        handler.send_header('Content-Length', length)
        handler.end_headers()
        handler.wfile.write(BODY)

    server.answer = answer
    with pytest.raises(UserError, match='the server sends the number'):
        get(server, tmp_path, retries=0)
    assert not (tmp_path / 'file.bin').exists()


def test_subset_is_downloaded_checked_unpacked_and_remembered(server, tmp_path, run_program):
    data = archive(FRAMES)
    server.files['/m/train_sharp.zip'] = data
    server.drop_after = [100]
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / 'sums').write_text('%s  train_sharp.zip\n%s *other.zip\n' % (digest, '0' * 32))
    flags = ['--root_dir=%s' % (tmp_path / 'r'), '--train_sharp', '--base_url=%s/m/' % server.url,
             '--checksums=%s' % (tmp_path / 'sums')]
    done = run_program('data_tools.download_reds', *flags)
    assert done.returncode == 0, done.stderr
    for name, content in FRAMES:
        assert (tmp_path / 'r' / name).read_bytes() == content
    assert sorted(os.listdir(str(tmp_path / 'r' / 'downloads'))) == ['train_sharp.done']
    asked = len(server.requests)
    download.get_subset('train_sharp', str(tmp_path / 'r'), server.url)
    assert len(server.requests) == asked


@pytest.mark.parametrize('listed', ['', 'val_sharp.zip', 'train_sharp.ZIP'])
def test_an_archive_without_its_checksum_is_not_downloaded(server, tmp_path, run_program, listed):
    server.files['/train_sharp.zip'] = archive(FRAMES)
    (tmp_path / 'sums').write_text('%s  %s\n' % ('0' * 32, listed) if listed else '\n')
    done = run_program('data_tools.download_reds', '--root_dir=%s' % (tmp_path / 'r'), '--train_sharp',
                       '--base_url=' + server.url, '--checksums=%s' % (tmp_path / 'sums'))
    check_error(done, str(tmp_path / 'sums'), 'train_sharp.zip', listed or 'nothing', '--checksums')
    with raises_facts(UserError, 'checksums', 'train_sharp.zip'):
        download.get_subset('train_sharp', str(tmp_path / 'r'), server.url,
                            checksums=download.read_checksums(str(tmp_path / 'sums')))
    assert not server.requests and not (tmp_path / 'r').exists()


def test_other_subsets_are_had_when_one_fails(server, tmp_path, run_program):
    server.files['/val_sharp.zip'] = archive([('val/val_sharp/000/00000000.png', b'x')])
    done = run_program('data_tools.download_reds', '--root_dir=%s' % tmp_path, '--train_sharp', '--val_sharp',
                       '--base_url=' + server.url)
    check_error(done, '1 of 2', 'missing', 'train_sharp')
    assert '404' in done.stdout
    assert (tmp_path / 'val' / 'val_sharp' / '000' / '00000000.png').read_bytes() == b'x'


def test_damaged_archives_are_set_aside(server, tmp_path):
    data = bytearray(archive(FRAMES))
    data[100] ^= 255   # inside the first member
    server.files['/train_sharp.zip'] = bytes(data)
    with raises_facts(UserError, 'CRC', 'train_sharp.zip.damaged'):
        download.get_subset('train_sharp', str(tmp_path), server.url)
    with pytest.raises(UserError, match=r'CRC|is damaged'):
        download.get_subset('train_sharp', str(tmp_path), server.url, unpack=False)
    with pytest.raises(UserError, match=r'has checksum [0-9a-f]{32} but should have 0{32}'):
        download.get_subset('train_sharp', str(tmp_path), server.url, checksums={'train_sharp.zip': '0' * 32})
    server.files['/train_sharp.zip'] = archive([])
    with raises_facts(UserError, 'no files', 'train_sharp.zip.damaged'):
        download.get_subset('train_sharp', str(tmp_path), server.url)
    assert not (tmp_path / 'downloads' / 'train_sharp.done').exists()
    server.files['/train_sharp.zip'] = b'<html>sign in, please</html>'
    with pytest.raises(UserError, match='not a complete zip archive'):
        download.get_subset('train_sharp', str(tmp_path), server.url)
    assert not (tmp_path / 'train' / 'train_sharp' / '000' / '00000000.png').exists()
    server.files['/train_sharp.zip'] = archive(FRAMES)
    download.get_subset('train_sharp', str(tmp_path), server.url)
    assert (tmp_path / 'train' / 'train_sharp' / '001' / '00000001.png').exists()


@pytest.mark.parametrize('name', ['downloads/val_sharp.done', 'downloads/train_sharp.zip', 'val/val_sharp/000/0.png'])
def test_an_archive_of_a_subset_writes_nothing_of_another(server, tmp_path, name):
    """Plants a note of another subset, which would say that it was unpacked."""
    server.files['/train_sharp.zip'] = archive(FRAMES + [(name, b'planted')])
    with raises_facts(UserError, repr(name), 'train/train_sharp', 'refused'):
        download.get_subset('train_sharp', str(tmp_path), server.url)
    assert os.listdir(str(tmp_path)) == ['downloads'] and not (tmp_path / 'downloads' / 'val_sharp.done').exists()


def test_flags_are_checked(tmp_path, run_program):
    done = run_program('data_tools.download_reds', '--root_dir=%s' % tmp_path)
    check_error(done, 'nothing to download')
    done = run_program('data_tools.download_reds', '--root_dir=%s' % tmp_path, '--all', '--base_url=reds.example')
    check_error(done, '--base_url=reds.example', 'begin with http')
    (tmp_path / 'sums').write_text('123 train_sharp.zip\n')
    with pytest.raises(UserError, match=r"'123 train_sharp\.zip' is not"):
        download.read_checksums(str(tmp_path / 'sums'))
