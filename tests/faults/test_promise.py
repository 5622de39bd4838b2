"""Files that name other files or addresses, as videos of each accepted suffix, through every program that reads videos.

The program refuses the file by name. Under strace it is also seen that nothing connects to the internet and no file is
opened but those given, those of the packages and the scratch folder.
"""
import os
import re
import shutil
import subprocess
import sys

import forked
import preloaded
import pytest
from conftest import ROOT
from helpers import smooth_frames, tiny_checkpoint
from packed import write_video
from training_runs import environment

from data_tools.media import video

# {name: text}; %s is a URL or a path of another video
DASH = ('<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" minBufferTime="PT1S" '
        'profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet '
        'mimeType="video/mp4"><Representation id="1" bandwidth="9" width="16" height="16"><BaseURL>%s</BaseURL>'
        '</Representation></AdaptationSet></Period></MPD>')
HLS = '#EXTM3U\n#EXT-X-TARGETDURATION:1\n%s#EXTINF:1,\n%%s\n#EXT-X-ENDLIST\n'
CONTENTS = {
    'DASH': DASH, 'HLS': HLS % '', 'HLS with a key': HLS % '#EXT-X-KEY:METHOD=AES-128,URI="%s"\n',
    'HLS with a map': HLS % '#EXT-X-MAP:URI="%s"\n',
    'HLS master': '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n%s\n', 'M3U': '%s\n',
    'ffconcat': "ffconcat version 1.0\nfile '%s'\n", 'ffconcat with BOM': "\ufeffffconcat version 1.0\nfile '%s'\n",
    'concat list': "file '%s'\n", 'concat protocol': 'concat:%s|%s\n',
    'subfile protocol': 'subfile,,start,0,end,9,,:%s\n',
    'SDP': 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=%s\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n',
    'PLS': '[playlist]\nFile1=%s\nNumberOfEntries=1\nVersion=2\n',
    'ASX': '<asx version="3.0"><entry><ref href="%s"/></entry></asx>',
    'SMIL': '<smil><body><video src="%s"/></body></smil>',
    'XSPF': '<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList><track><location>%s</location></track>'
            '</trackList></playlist>',
    'RTSP text': 'RTSPtextRTSP://%s\n', 'ISM': '<SmoothStreamingMedia MajorVersion="2"><StreamIndex Url="%s"/>'
                                              '</SmoothStreamingMedia>',
    'WebVTT': 'WEBVTT\n\n00:00.000 --> 00:01.000\n%s\n', 'FFMETADATA': ';FFMETADATA1\ntitle=%s\n',
}
URLS = ('file://%s', '%s', 'http://127.0.0.1:9/%s', 'data:,%s')

# {name: (module, arguments of the folder `given`, its file and the folder for output)}
PROGRAMS = {
    'inspect_data': ('edvr.inspect_data', lambda given, path, out: ['--source=' + path, '--output_dir=' + out]),
    'make_tfrecords': ('data_tools.make_tfrecords', lambda given, path, out: [
        '--data_dir=' + os.path.dirname(path), '--make_lq', '--num_frames=3', '--num_shards=1', '--workers=1',
        '--output_dir=' + out]),
    'make_lq': ('data_tools.make_lq', lambda given, path, out: [
        '--data_dir=' + os.path.dirname(path), '--output_dir=' + out, '--workers=1']),
    'evaluate': ('edvr.evaluate', lambda given, path, out: [
        '--checkpoint=' + os.path.join(given, 'model'), '--data_dir=' + os.path.dirname(path), '--make_lq',
        '--device=cpu', '--kernels=tf', '--json=' + os.path.join(out, 'e.json')]),
    'infer': ('edvr.infer', lambda given, path, out: [
        '--checkpoint=' + os.path.join(given, 'model'), '--input=' + path, '--output=' + out, '--device=cpu',
        '--kernels=tf']),
    'preview': ('edvr.infer', lambda given, path, out: [
        '--checkpoint=' + os.path.join(given, 'model'), '--input=' + path, '--output=' + out, '--device=cpu',
        '--kernels=tf', '--preview=1']),
}


@pytest.fixture(scope='module')
def places(tmp_path_factory):
    """(folder that is given to the programs, with a network; path of a video outside of it)."""
    given, other = tmp_path_factory.mktemp('given'), tmp_path_factory.mktemp('private')
    tiny_checkpoint(given / 'model')
    write_video(other / 'p.mp4', smooth_frames(3, 32, 32), '-pix_fmt', 'yuv420p', '-movflags',
                'frag_keyframe+empty_moov')
    return str(given), str(other / 'p.mp4')


def hostile(places, content, url, suffix):
    """Writes the file; returns its path, in a folder of its own."""
    given, other = places
    folder = os.path.join(given, 'videos')
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    path = os.path.join(folder, 'hostile' + suffix)
    text = CONTENTS[content]
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text.replace('%s', url % other))
    return path


def judge(campaign, kind, done, content, url, suffix, out):
    campaign.judge(kind, done, '%s, %s, %s' % (content, url, suffix), ['hostile' + suffix])
    written = [name for _, _, names in os.walk(out) for name in names if name.endswith(('.png', '.tfrecord'))]
    assert not written, (content, url, suffix, written)


@pytest.mark.parametrize('program', [
    pytest.param(name, marks=[] if name == 'infer' else pytest.mark.faults) for name in sorted(PROGRAMS)])
def test_texts_that_name_other_files(campaign, places, tmp_path, program):
    cases = [(content, url, suffix) for content in sorted(CONTENTS) for url in URLS for suffix in video.SUFFIXES]
    module, arguments = PROGRAMS[program]
    for index in campaign.rng.permutation(len(cases))[:campaign.amount(1, 90)]:
        content, url, suffix = cases[index]
        path, out = hostile(places, content, url, suffix), str(tmp_path / 'out')
        done = preloaded.run(module, arguments(places[0], path, out), forked.PATIENCE, env=environment())
        judge(campaign, 'video that names another: ' + program, done, content, url, suffix, out)


class Traced:
    """Runs programs under strace, all forked from one process that has loaded TensorFlow.

    Attributes:
      root: Path of a folder for them, with HOME, TMPDIR and the cache.
      loading: calls on internet sockets while TensorFlow was loaded.
    """

    def __init__(self, root):
        self.root, self._log = root, str(root / 'strace')
        self._tracer = ('strace', '-f', '-qq', '-s', '4096', '-e', 'trace=network,openat', '-o', self._log)
        if b'--seccomp-bpf' in subprocess.run(['strace', '-h'], stdout=subprocess.PIPE).stdout:
            self._tracer += ('--seccomp-bpf',)   # other calls then take no longer than without strace
        for name in ('home', 'scratch'):
            (root / name).mkdir()
        with open(self._log, 'w'):
            self.loading = self.run('data_tools.make_lq', ['--version'])[1]

    def run(self, module, arguments):
        """Runs a program: (finished process, calls on internet sockets, paths of opened files)."""
        before = os.path.getsize(self._log)
        variables = dict(HOME=str(self.root / 'home'), TMPDIR=str(self.root / 'scratch'),
                         EDVR_CACHE_DIR=str(self.root / 'home' / 'cache'))
        done = preloaded.run(module, arguments, forked.PATIENCE, env=environment(**variables), tracer=self._tracer)
        with open(self._log, errors='replace') as file:
            file.seek(before)
            lines = file.read().splitlines()
        found = [re.search(r'openat\([^,]+, "([^"]*)".* = \d+', line) for line in lines]
        return done, [line for line in lines if 'AF_INET' in line], [match.group(1) for match in found if match]


@pytest.fixture(scope='module')
def traced(tmp_path_factory):
    if not shutil.which('strace'):
        pytest.skip('strace is not installed (Debian: apt install strace)')
    return Traced(tmp_path_factory.mktemp('traced'))


def outside(paths, folders):
    """Those of the paths that lie in none of the folders, nor where programs and libraries are installed."""
    allowed = [os.path.realpath(folder) for folder in folders] + [
        ROOT, os.path.realpath(ROOT), sys.prefix, os.path.realpath(sys.prefix), sys.base_prefix,
        os.path.realpath(sys.executable), '/usr', '/lib', '/lib64', '/etc', '/proc', '/sys', '/dev', '/opt', '/run']
    return sorted({path for path in paths if path.startswith('/') and not any(
        path == folder or path.startswith(folder.rstrip('/') + '/') for folder in allowed)})


def test_loading_tensorflow_connects_to_nothing(traced):
    """urllib3, which TensorFlow's packages import, binds a socket to port 0 of ::1 to see whether there is IPv6."""
    assert not [line for line in traced.loading if not re.search(
        r'socket\(AF_INET6, SOCK_STREAM|bind\(.*htons\(0\).*"::1"', line)]


@pytest.mark.parametrize('program', sorted(PROGRAMS))
def test_under_strace(campaign, places, traced, program):
    """Hostile texts and an honest video: no internet socket, and nothing opened beside what was given."""
    module, arguments = PROGRAMS[program]
    cases = [('DASH', URLS[2]), ('DASH', URLS[0]), ('', URLS[0])] + [
        (content, url) for content in sorted(CONTENTS) for url in URLS[1:3]]
    for content, url in cases[:campaign.amount(1, len(cases))]:
        path, out = hostile(places, content or 'DASH', url, '.mp4'), str(traced.root / program)
        if not content:   # an honest one
            write_video(path, smooth_frames(3, 32, 32), '-pix_fmt', 'yuv420p')
        done, sockets, opened = traced.run(module, arguments(places[0], path, out))
        strange = outside(opened, [places[0], str(traced.root)])
        assert path in opened, 'strace did not see the file being opened'
        assert not sockets and not strange, (content, url, sockets, strange)
        if content:
            judge(campaign, 'under strace: ' + program, done, content, url, '.mp4', out)
        else:
            assert done.returncode == 0, done.stderr
            campaign.record('under strace: ' + program, 'harmless')
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(out + '_preview', ignore_errors=True)
