"""Image files that are wrong in known ways, made by hand where no library writes them."""
import io
import struct
import zlib

import numpy as np
from PIL import Image

RGB = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).astype(np.uint8)
PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'


def chunk(kind, data):
    """A PNG chunk with its checksum."""
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data) & 0xffffffff)


def header(width, height, bits=8, colour=2, interlaced=0):
    """The IHDR chunk; colour: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    return chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, interlaced))


def png(width, height, rows, first=b'', last=b'', **fields):
    """A PNG of unfiltered rows (bytes); `first` goes before IHDR, `last` before IEND."""
    data = zlib.compress(b''.join(b'\0' + row for row in rows))
    return PNG_SIGNATURE + first + header(width, height, **fields) + chunk(b'IDAT', data) + last + chunk(b'IEND', b'')


def saved(image=RGB, kind='PNG', **options):
    """The bytes of an image as Pillow writes them."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def several(kind):
    """A file that holds two images."""
    return saved(RGB, kind, save_all=True, append_images=[Image.fromarray(255 - RGB)])


def exif(orientation):
    values = Image.Exif()
    values[274] = orientation
    return values.tobytes()


def tiff_16_bit(width=4, height=3):
    """An uncompressed TIFF of 16-bit RGB, which Pillow opens as 8-bit RGB."""
    pixels = bytes(bytearray(range(6 * width))) * height
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 0), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 0),
               (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(pixels))]
    end = 8 + 2 + 12 * len(entries) + 4
    pointers = {258: end, 273: end + 6}
    directory = b''.join(struct.pack('<HHI', tag, kind, count) + struct.pack(
        '<HH' if kind == 3 and count == 1 else '<I', *([value, 0] if kind == 3 and count == 1
                                                       else [pointers.get(tag, value)]))
                         for tag, kind, count, value in entries)
    return (b'II*\0' + struct.pack('<IH', 8, len(entries)) + directory + struct.pack('<I', 0)
            + struct.pack('<HHH', 16, 16, 16) + pixels)


def bmp(width, height):
    """A BMP whose header declares a size that its pixels do not have."""
    data = saved(kind='BMP')
    return data[:18] + struct.pack('<ii', width, height) + data[26:]


# what both `read_header` and `read_image` refuse: {what: (bytes, pattern of the error)}
REFUSED = {
    '16-bit grey PNG': (saved(RGB[..., 0].astype(np.uint16) * 256), '16 bits a channel.*8-bit'),
    '16-bit RGB PNG': (png(1, 1, [b'abcdef'], bits=16), '16 bits a channel'),
    '16-bit grey PNG with alpha': (png(1, 1, [b'ab\xff\xff'], bits=16, colour=4), '16 bits a channel'),
    '16-bit RGBA PNG': (png(1, 1, [b'abcdef\xff\xff'], bits=16, colour=6), '16 bits a channel'),
    '16-bit PNG with a chunk before IHDR': (png(1, 1, [b'abcdef'], chunk(b'tEXt', b'a\0b'), bits=16),
                                            "begins with an IHDR chunk, but this one with b'tEXt'"),
    '16-bit RGB TIFF': (tiff_16_bit(), '16 bits a channel'),
    '16-bit grey TIFF': (saved(RGB[..., 0].astype(np.uint16) * 256, 'TIFF'), '16 bits a channel'),
    'float TIFF': (saved(RGB[..., 0].astype(np.float32), 'TIFF'), '32 bits a channel'),
    'PPM with maxval 65535': (b'P6\n2 2\n65535\n' + bytes(24), 'PNG, JPEG, BMP, TIFF and WebP are read'),
    'EPS, a program': (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n',
                       'PNG, JPEG, BMP, TIFF and WebP are read'),
    'animated PNG': (several('PNG'), 'contains several images'),
    'animated WebP': (several('WEBP'), 'contains several images'),
    'animated GIF': (several('GIF'), 'PNG, JPEG, BMP, TIFF and WebP are read'),
    'TIFF of two pages': (several('TIFF'), 'contains several images'),
    'JPEG of two images': (several('MPO'), 'contains several images'),
    'JPEG with orientation': (saved(kind='JPEG', exif=exif(6)), 'EXIF orientation 6'),
    'PNG with orientation': (saved(exif=exif(8)), 'EXIF orientation 8'),
    'WebP with orientation': (saved(kind='WEBP', exif=exif(3)), 'EXIF orientation 3'),
    'TIFF with orientation': (saved(kind='TIFF', exif=exif(6)), 'EXIF orientation 6'),
    'PNG of 60000x60000': (png(60000, 60000, [b'']), 'more than 178 megapixels'),
    'BMP of 60000x60000': (bmp(60000, 60000), 'more than 178 megapixels'),
    'PNG without pixels': (png(0, 5, []), 'PNG|size'),
    'nothing': (b'', 'not an image'),
    'signature alone': (PNG_SIGNATURE, 'not an image'),
}
