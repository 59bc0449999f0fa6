"""The page of the service: drop a picture, see what the network finds in it, and how fast."""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from typing import Any

from segedu import page as pages
from segedu.engine.deployed import Contract
from segedu.serve.pictures import FORMATS

_SCRIPT = """
const field = document.querySelector('input'), place = document.querySelector('label');
const state = document.querySelector('#state'), shown = document.querySelector('#shown');
const list = document.querySelector('#found');
const texts = JSON.parse(document.querySelector('#texts').textContent);
let last = '';
function say(text) { state.textContent = text; }
async function send(file) {
  if (!file) return;
  say(texts.waiting);
  const start = performance.now();
  let answer;
  try {
    answer = await fetch('predict?answer=overlay',
      { method: 'POST', body: file, headers: { 'Content-Type': file.type || 'image/png' } });
  } catch { return say(texts.unreachable); }
  if (!answer.ok) {
    const why = (await answer.json()).detail;
    return say((texts[answer.status] || texts.refused) + ' (' + answer.status + ': ' + why + ')');
  }
  URL.revokeObjectURL(last);
  shown.src = last = URL.createObjectURL(await answer.blob());
  shown.hidden = false;
  list.replaceChildren(...JSON.parse(answer.headers.get('X-Segedu-Found')).map(entry => {
    const item = document.createElement('li');
    const number = entry.share ?? entry.score;
    item.textContent = entry.name + ' ' + (100 * number).toFixed(1) + ' %';
    return item;
  }));
  const worked = answer.headers.get('Server-Timing').split('dur=')[1];
  const all = Math.round(performance.now() - start);
  say(texts.done.replaceAll('{worked}', worked).replaceAll('{all}', all));
}
field.addEventListener('change', () => send(field.files[0]));
for (const name of ['dragenter', 'dragover', 'dragleave', 'drop'])
  place.addEventListener(name, event => {
    event.preventDefault();
    place.classList.toggle('over', name === 'dragenter' || name === 'dragover');
  });
place.addEventListener('drop', event => send(event.dataTransfer.files[0]));
"""
_STYLE = """
label.drop { display: block; padding: 2rem 1rem; border: 2px dashed var(--edge);
  border-radius: 8px; text-align: center; cursor: pointer; }
label.drop.over { background: var(--warn); }
label.drop:focus-within { outline: 3px solid var(--edge); }
label.drop input { display: block; margin: 1rem auto 0; max-width: 100%; }
.swatch { display: inline-block; width: 1em; height: 1em; border: 1px solid var(--line);
  vertical-align: -.1em; margin-inline-end: .3em; }
#classes, #found { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0;
  list-style: none; }
"""
_TEXTS = {
    "waiting": "The network looks at the picture … ｜ 网络正在处理……",
    "done": "{worked} ms in the service, {all} ms in all. ｜ "
    "服务用时 {worked} 毫秒，往返共 {all} 毫秒。",
    "unreachable": "The service does not answer. ｜ 服务没有响应。",
    "refused": "The picture was refused. ｜ 图像未被接受。",
    "413": "The picture is too large. ｜ 图像过大。",
    "415": "Not a PNG, JPEG or WebP picture. ｜ 不是 PNG、JPEG 或 WebP 图像。",
    "422": "The network cannot take this picture. ｜ 网络无法处理这幅图像。",
    "429": "The service is busy; try again in a second. ｜ 服务正忙，请稍后再试。",
    "503": "It took too long; try again. ｜ 处理超时，请重试。",
}
CONTENT_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src blob:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    + "'"
)


def page(contract: Contract) -> str:
    """The page of a network, in both languages; it loads nothing but the answers of the service."""

    texts = json.dumps(_TEXTS, ensure_ascii=False).replace("<", "\\u003c")
    named: Sequence[Any] = list(zip(contract.classes, contract.colors, strict=True))
    # Objects are told apart by colours of their own.
    named = named if contract.task == "semantic" else named[1:]
    return pages.page(
        "Segment a picture ｜ 分割一幅图像",
        [
            f"<style>{_STYLE}</style>",
            pages.paragraphs(
                f"The network {contract.network} looks at the picture that you choose. The service "
                "keeps nothing of it. ｜ "
                f"网络 {contract.network} 会处理你选择的图像，服务不保留任何内容。"
            ),
            "<label class='drop'>",
            pages.bilingual("Drop a picture here, or choose one ｜ 把图像拖到这里，或选择文件"),
            f"<input type='file' accept='{','.join(FORMATS)}'></label>",
            "<p id='state' role='status' aria-live='polite'></p>",
            "<img id='shown' hidden alt='what the network found ｜ 网络的分割结果'>",
            "<ul id='found'></ul>",
            pages.heading("Classes ｜ 类别"),
            "<ul id='classes'>",
            *(_entry(name, color, contract.task == "semantic") for name, color in named),
            "</ul>",
            f"<script type='application/json' id='texts'>{texts}</script>",
            f"<script>{_SCRIPT}</script>",
        ],
    )


def _entry(name: str, color: tuple[int, ...], colored: bool) -> str:
    swatch = f"<span class='swatch' style='background: rgb{tuple(color)}'></span>"
    return f"<li>{swatch if colored else ''}{html.escape(name)}</li>"
