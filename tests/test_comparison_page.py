"""The page to compare images: one file with all of them, which asks for nothing else."""
import base64
import json
import re

import numpy as np

from data_tools.media import comparison_page
from data_tools.media.comparison_page import Panel, Picture
from data_tools.media.images import decode_image


def test_the_page_contains_the_images_and_names_no_other_file(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, [2, 5, 7, 3]).astype(np.uint8)
    path = tmp_path / 'index.html'
    name = '</script><b>"clip" &\u2028'
    panels = [Panel.of('a', images[0]), Panel.of('b', images[1])]
    comparison_page.write(str(path), 'of <1>', [Picture(name, '00', panels, [('PSNR', '30.1')])], ['a & b'])
    page = path.read_text(encoding='utf-8')
    assert re.findall(r'(?:src|href)=|https?:|//[a-z]|@import|url\(', page) == []
    assert "default-src 'none'" in page and page.count('</script>') == 2
    assert 'of &lt;1&gt;' in page and 'a &amp; b' in page
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.S).group(1))
    assert (data[0]['clip'], data[0]['frame'], data[0]['numbers']) == (name, '00', [['PSNR', '30.1']])
    for panel, image in zip(data[0]['panels'], images):
        kind, png = panel['src'].split(',')
        assert kind == 'data:image/png;base64'
        np.testing.assert_array_equal(decode_image(base64.b64decode(png), 'x'), image)
