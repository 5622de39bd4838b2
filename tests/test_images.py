import os
import resource
import socket

import numpy as np
import pytest
from facts import raises_facts
from malformed_images import PNG_SIGNATURE, REFUSED, RGB, chunk, exif, header, png, saved
from PIL import Image

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import images


def test_round_trip(tmp_path):
    path = str(tmp_path / 'a.png')
    images.write_png(path, RGB)
    np.testing.assert_array_equal(images.read_image(path), RGB)
    assert os.listdir(str(tmp_path)) == ['a.png']


def test_lossless_conversions(tmp_path):
    path = str(tmp_path / 'a.png')
    grey = RGB[..., 0]
    Image.fromarray(grey).save(path)
    np.testing.assert_array_equal(images.read_image(path), np.repeat(grey[..., None], 3, 2))
    opaque = np.dstack([RGB, np.full((5, 7), 255, np.uint8)])
    Image.fromarray(opaque).save(path)
    np.testing.assert_array_equal(images.read_image(path), RGB)
    palette = Image.fromarray(grey % 4).convert('P')
    palette.putpalette(list(range(256)) * 3)
    palette.save(path)
    np.testing.assert_array_equal(images.read_image(path), np.asarray(palette.convert('RGB')))


def test_interlaced(tmp_path):
    # Adam7 of a 2x1 image: pass 1 has pixel 0, pass 6 has pixel 1
    data = png(2, 1, [bytes(RGB[0, 0]), bytes(RGB[0, 1])], interlaced=1)
    (tmp_path / 'a.png').write_bytes(data)
    np.testing.assert_array_equal(images.read_image(str(tmp_path / 'a.png')), RGB[:1, :2])


@pytest.mark.parametrize('kind, options', [('BMP', {}), ('TIFF', {}), ('TIFF', {'compression': 'tiff_lzw'}),
                                           ('WEBP', {'lossless': True}), ('PNG', {'exif': exif(1)}),
                                           ('TIFF', {'exif': exif(0)})])   # 0: unknown, which is taken for upright
def test_lossless_formats(tmp_path, kind, options):
    path = str(tmp_path / 'a.png')   # the content decides, not the name
    (tmp_path / 'a.png').write_bytes(saved(RGB, kind, **options))
    np.testing.assert_array_equal(images.read_image(path), RGB)
    assert images.read_header(path) == ((5, 7), b'')


@pytest.mark.parametrize('what', sorted(REFUSED))
def test_refused_with_path_by_size_and_by_reading(tmp_path, what):
    data, reason = REFUSED[what]
    (tmp_path / 'frame.png').write_bytes(data)
    for read in (images.read_header, images.read_image):
        with pytest.raises(UserError, match=r'frame\.png.*' + reason):
            read(str(tmp_path / 'frame.png'))


def test_declared_size_is_not_allocated(tmp_path):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ('PNG of 60000x60000', 'BMP of 60000x60000'):
        with pytest.raises(UserError):
            images.decode_image(REFUSED[name][0], 'a.png')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100000   # kB; such a frame has 10 GB


def test_transparency_is_refused(tmp_path):
    path = str(tmp_path / 'frame.png')
    alpha = np.dstack([RGB, np.full((5, 7), 255, np.uint8)])
    alpha[2, 2, 3] = 100
    Image.fromarray(alpha).save(path)
    with pytest.raises(UserError, match=r'frame\.png is transparent.*100'):
        images.read_image(path)


@pytest.mark.parametrize('last, reason', [(chunk(b'eXIf', exif(5)[6:]), 'EXIF orientation 5'),   # behind the pixels
                                          (header(1, 1), 'it has 2 IHDR chunks'),
                                          (chunk(b'tEXt', b'a\0b')[:-1] + b'x', "checksum of chunk b'tEXt'")])
def test_chunks_behind_the_pixels_are_checked(last, reason):
    with pytest.raises(UserError, match=reason):
        images.decode_image(png(2, 1, [bytes(6)], last=last), 'a.png')


def test_every_flipped_bit_of_the_pixel_data_is_detected():
    """Pillow alone returns other pixels for a quarter of them."""
    y, x = np.mgrid[:16, :24]
    data = saved(np.stack([3 * x + y, 2 * y, x + y], -1).astype(np.uint8))
    for bit in range(8 * len(PNG_SIGNATURE), 8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UserError, match=r'a\.png'):
            images.decode_image(bytes(damaged), 'a.png')


@pytest.mark.parametrize('make, reason', [
    (lambda path: None, 'No such file'),
    (os.mkfifo, 'it is a FIFO, not a regular file'),
    (os.mkdir, 'it is a folder, not a regular file|Is a directory'),
    (lambda path: os.symlink('/dev/zero', path), 'it is a device, not a regular file'),
    (lambda path: os.symlink(path, path), 'Too many levels of symbolic links'),
    (lambda path: socket.socket(socket.AF_UNIX).bind(path), 'No such device or address')])
def test_what_is_no_regular_file_is_refused(tmp_path, make, reason):
    path = str(tmp_path / 'frame.png')
    make(path)
    for read in (images.read_header, images.read_image):
        with pytest.raises(UserError, match=r'cannot read frame .*frame\.png: (%s)' % reason):
            read(path)


def test_file_of_absurd_length_is_not_read(tmp_path):
    with open(str(tmp_path / 'frame.png'), 'wb') as file:
        file.write(saved())
        file.truncate(1 << 40)   # takes no room
    with raises_facts(UserError, '1099511627776 bytes', 1073741824):
        images.read_image(str(tmp_path / 'frame.png'))


@pytest.mark.parametrize('cut', [10, 60, -30])
def test_truncated(tmp_path, cut):
    (tmp_path / 'frame.png').write_bytes(saved()[:cut])
    with pytest.raises(UserError, match=r'frame\.png'):
        images.read_image(str(tmp_path / 'frame.png'))


def test_atomic_path_keeps_the_old_file(tmp_path):
    path = str(tmp_path / 'a.txt')
    files.write_bytes(path, b'old')
    with pytest.raises(RuntimeError), files.atomic_path(path) as partial:
        with open(partial, 'w') as file:
            file.write('new')
        raise RuntimeError
    assert (tmp_path / 'a.txt').read_text() == 'old' and os.listdir(str(tmp_path)) == ['a.txt']


def test_full_disk_is_reported(tmp_path):
    if not os.path.exists('/dev/full'):
        pytest.skip('no /dev/full')
    with raises_facts(UserError, 'here', 'disk is full'), files.explained('here'), open(
            '/dev/full', 'wb', buffering=0) as file:
        file.write(b'x')
