"""A page to compare images in a browser: one HTML file with everything in it, which uses no network."""
import base64
import html
import json
import typing

import numpy as np

from data_tools.base import files
from data_tools.media.images import encode_png

NAME = 'index.html'


class Panel(typing.NamedTuple):
    """Describes one version of a frame.

    Attributes:
      label: such as 'restored'.
      png: the image.
    """
    label: str
    png: bytes

    @classmethod
    def of(cls, label: str, image: np.ndarray, profile: bytes = b'') -> 'Panel':
        """Returns the Panel of an image, uint8 [H, W, 3], with an ICC profile unless that is empty."""
        return cls(label, encode_png(image, profile=profile))


class Picture(typing.NamedTuple):
    """Holds the versions of a frame, all of one size.

    Attributes:
      clip: its name.
      frame: name of the frame.
      panels: from the input to the best.
      numbers: lines of (name, value) to show beside it.
    """
    clip: str
    frame: str
    panels: typing.Sequence[Panel]
    numbers: typing.Sequence[typing.Tuple[str, str]] = ()


def write(path: str, title: str, pictures: typing.Sequence[Picture], notes: typing.Sequence[str] = ()) -> None:
    """Writes the page.

    Args:
      path: of the HTML file.
      title: shown above.
      pictures: at least one.
      notes: lines of text shown below, in a fixed width.
    Raises:
      UserError: the file cannot be written.
    """
    data = [dict(clip=picture.clip, frame=picture.frame, numbers=list(picture.numbers),
                 panels=[dict(label=panel.label, src='data:image/png;base64,' + base64.b64encode(panel.png).decode())
                         for panel in picture.panels]) for picture in pictures]
    # a name must not end the script element
    text = json.dumps(data).replace('<', '\\u003c').replace('\u2028', '\\u2028')
    page = _PAGE.replace('@TITLE@', html.escape(title)).replace('@NOTES@', html.escape('\n'.join(notes)))
    files.write_bytes(path, page.replace('@DATA@', text).encode('utf-8', 'backslashreplace'))


_PAGE = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>
body { margin: 1rem; font: 15px/1.5 system-ui, sans-serif; background: #1b1b1b; color: #ddd }
h1 { font-size: 1.1rem; margin: 0 0 .6rem }
.controls { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; margin-bottom: .6rem }
select, button, input { font: inherit }
#view { overflow: auto; max-height: 78vh; background: #000 }
#stage { position: relative; cursor: ew-resize; touch-action: none; user-select: none }
#stage img { position: absolute; left: 0; top: 0; width: 100%; height: 100%; pointer-events: none }
#stage img.exact { image-rendering: pixelated }
#line { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: #fff; pointer-events: none;
        box-shadow: 0 0 3px #000 }
.caption { position: absolute; top: .4rem; padding: 0 .4rem; background: #000a; pointer-events: none }
table { border-collapse: collapse; margin: .8rem 0 }
td { padding: 0 1rem 0 0 }
pre { overflow: auto; font-size: 13px; line-height: 1.35 }
</style>
</head>
<body>
<h1>@TITLE@</h1>
<div class="controls">
<label>clip <select id="clip"></select></label>
<label>frame <select id="frame"></select></label>
<label>left <select id="left"></select></label>
<label>right <select id="right"></select></label>
<label>zoom <select id="zoom"><option value="0">fit<option value="1">100 %<option value="2">200 %<option value="4">400 %
</select></label>
<label>divide <input id="slider" type="range" min="0" max="1000" value="500"></label>
</div>
<div id="view"><div id="stage"><img id="image-right" alt=""><img id="image-left" alt=""><div id="line"></div>
<span class="caption" id="caption-left" style="left:.4rem"></span>
<span class="caption" id="caption-right" style="right:.4rem"></span></div></div>
<table id="numbers"></table>
<pre>@NOTES@</pre>
<script id="data" type="application/json">@DATA@</script>
<script>
'use strict';
const pictures = JSON.parse(document.getElementById('data').textContent);
const at = id => document.getElementById(id);
const fill = (select, texts, chosen) => {
  select.replaceChildren(...texts.map((text, value) => new Option(text, value)));
  select.value = chosen;
};
const clips = [...new Set(pictures.map(picture => picture.clip))];
let shown = [], picture = null;
function divide() {
  const part = at('slider').value / 10;
  at('image-left').style.clipPath = 'inset(0 ' + (100 - part) + '% 0 0)';
  at('line').style.left = part + '%';
}
function size() {
  const image = at('image-right'), zoom = Number(at('zoom').value);
  if (!image.naturalWidth) return;
  const fitting = Math.min(at('view').clientWidth, innerHeight * .78 * image.naturalWidth / image.naturalHeight);
  const width = zoom ? image.naturalWidth * zoom / devicePixelRatio : fitting;
  at('stage').style.width = width + 'px';
  at('stage').style.height = width * image.naturalHeight / image.naturalWidth + 'px';
  for (const side of ['left', 'right']) at('image-' + side).className = zoom > 1 ? 'exact' : '';
}
function panels() {
  for (const side of ['left', 'right']) {
    const panel = picture.panels[at(side).value];
    at('image-' + side).src = panel.src;
    at('caption-' + side).textContent = panel.label;
  }
}
function frame() {
  picture = shown[at('frame').value];
  const labels = picture.panels.map(panel => panel.label), before = ['left', 'right'].map(side => at(side).value);
  const known = before.every(value => value !== '' && value < labels.length);
  fill(at('left'), labels, known ? before[0] : 0);
  fill(at('right'), labels, known ? before[1] : Math.min(1, labels.length - 1));
  at('numbers').replaceChildren(...picture.numbers.map(([name, value]) => {
    const row = document.createElement('tr');
    for (const text of [name, value]) row.insertCell().textContent = text;
    return row;
  }));
  panels();
}
function clip() {
  shown = pictures.filter(picture => picture.clip === clips[at('clip').value]);
  fill(at('frame'), shown.map(picture => picture.frame), 0);
  frame();
}
fill(at('clip'), clips, 0);
at('clip').onchange = clip;
at('frame').onchange = frame;
at('left').onchange = at('right').onchange = panels;
at('zoom').onchange = size;
at('slider').oninput = divide;
at('image-right').onload = size;
window.onresize = size;
const drag = event => {
  if (event.type === 'pointermove' && !event.buttons) return;
  const box = at('stage').getBoundingClientRect();
  at('slider').value = 1000 * (event.clientX - box.left) / box.width;
  divide();
};
at('stage').onpointerdown = at('stage').onpointermove = drag;
clip();
divide();
</script>
</body>
</html>
'''
