"""ICC profiles made by hand."""
import struct

WIDE = ((.5151, .2412, -.0011), (.2920, .6922, .0419), (.1571, .0666, .7841))   # the primaries of Display P3
SRGB = ((.4361, .2225, .0139), (.3851, .7169, .0971), (.1431, .0606, .7141))


def _numbers(values):
    return b''.join(struct.pack('>i', round(value * 65536)) for value in values)


def profile(name='Wide RGB', primaries=WIDE, gamma=2.2, space=b'RGB '):
    """The bytes of an RGB or grey profile of version 2."""
    curve = b'curv\0\0\0\0' + struct.pack('>IH', 1, int(gamma * 256)) + b'\0\0'
    text = name.encode() + b'\0'
    tags = {b'desc': b'desc\0\0\0\0' + struct.pack('>I', len(text)) + text + b'\0' * 78,
            b'cprt': b'text\0\0\0\0none\0\0\0\0', b'wtpt': b'XYZ \0\0\0\0' + _numbers((.9642, 1, .8249))}
    if space == b'GRAY':
        tags[b'kTRC'] = curve
    else:
        for letter, values in zip('rgb', primaries):
            tags[letter.encode() + b'XYZ'] = b'XYZ \0\0\0\0' + _numbers(values)
            tags[letter.encode() + b'TRC'] = curve
    offset, table, data = 132 + 12 * len(tags), struct.pack('>I', len(tags)), b''
    for key, value in tags.items():
        value += b'\0' * (-len(value) % 4)
        table += key + struct.pack('>II', offset + len(data), len(value))
        data += value
    head = bytearray(128)
    head[0:4] = struct.pack('>I', 128 + len(table) + len(data))
    head[8:12] = b'\x02\x40\0\0'
    head[12:24] = b'mntr' + space + b'XYZ '
    head[36:40] = b'acsp'
    head[68:80] = _numbers((.9642, 1, .8249))
    return bytes(head) + table + data
