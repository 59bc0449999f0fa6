// Networks that run in the page (segedu.viz.live_frame). book.js fetches this when a button is
// pressed, and this what the kind of figure needs: live-brush.js or live-clicks.js.

const DAMAGED = "damaged";
const MISSING = "missing";

class Problem extends Error {
  constructor(kind, cause) {
    super(`${kind}: ${cause}`, { cause });
    this.kind = kind;
  }
}

// --- the runtime and the networks: each is fetched once for all figures of a page -------------

let runtime;
let loaded = 0; // bytes
const sessions = new Map();

async function bytesOf(url) {
  const missing = (error) => Promise.reject(new Problem(MISSING, error));
  const answer = await fetch(url).catch(missing);
  if (!answer.ok) throw new Problem(MISSING, `${answer.status} for ${url}`);
  const reader = answer.body.getReader();
  const parts = [];
  for (;;) {
    const { done, value } = await reader.read().catch(missing);
    if (done) return new Blob(parts).arrayBuffer();
    parts.push(value);
    loaded += value.length;
    for (const bar of document.querySelectorAll(".segedu-live progress")) bar.value = loaded / 1e6;
  }
}

async function loadRuntime(files) {
  const [wasmBinary, ort] = await Promise.all([
    bytesOf(new URL("ort-wasm-simd-threaded.wasm", files)),
    import(new URL("ort.wasm.bundle.min.mjs", files)).catch((error) =>
      Promise.reject(new Problem(MISSING, error)),
    ),
  ]);
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary }); // more need headers of the server
  return ort;
}

async function loadNetwork(files, name, whenLoaded) {
  const [ort, data] = await Promise.all([
    (runtime ??= loadRuntime(files)),
    bytesOf(new URL(`${name}.onnx`, files)),
  ]);
  whenLoaded();
  try {
    return await ort.InferenceSession.create(data, { executionProviders: ["wasm"] });
  } catch (error) {
    throw new Problem(DAMAGED, error);
  }
}

// What failed is tried again by the next press.
function networkOf(files, name, whenLoaded) {
  if (!sessions.has(name)) {
    const session = loadNetwork(files, name, whenLoaded);
    sessions.set(name, session);
    session.catch(() => {
      sessions.delete(name);
      runtime = undefined;
      loaded = 0;
    });
  }
  return sessions.get(name);
}

export const tensor = async (type, data, dims) => new (await runtime).Tensor(type, data, dims);

// --- pictures: RGB as floats, (H, W, 3) in one row ---------------------------------------------

export async function pixelsOf(image) {
  const data = await (await fetch(image.src)).blob();
  const bitmap = await createImageBitmap(data, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data: rgba } = context.getImageData(0, 0, width, height);
  return { rgba, width, height };
}

export function rgbOf({ rgba }) {
  const rgb = new Float32Array((rgba.length / 4) * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    for (let c = 0; c < 3; c++) rgb[j++] = rgba[i + c];
  }
  return rgb;
}

export const firstChannel = ({ rgba }) => Uint8Array.from({ length: rgba.length / 4 }, (_, i) => rgba[4 * i]);

// The parts of a picture by their names, as pixels, and its sides.
async function readPicture(holder) {
  const parts = {};
  for (const image of holder.querySelectorAll("img")) parts[image.dataset.part] = await pixelsOf(image);
  const { width, height } = parts.image;
  return { width, height, rgb: rgbOf(parts.image), parts };
}

// What a network wants of RGB: a plane for each colour, less its mean and divided by its deviation,
// in the upper left corner of a field of zeros.
export function planes(rgb, { width, height }, [mean, deviation], [rows, columns] = [height, width]) {
  const field = new Float32Array(3 * rows * columns);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const value = rgb[3 * (y * width + x) + c] / 255;
        field[(c * rows + y) * columns + x] = (value - mean[c]) / deviation[c];
      }
    }
  }
  return field;
}

// RGB under the colours of labels, as segedu.viz.overlay has it; a label without colour leaves it.
export function overlaid(rgb, labels, palette, alpha, { width, height }) {
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const color = palette[labels[i]];
    const weight = !color ? 0 : isEdge(labels, i, width, height) ? 1 : alpha;
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = (1 - weight) * rgb[3 * i + c] + (weight && weight * color[c]);
    }
    image.data[4 * i + 3] = 255;
  }
  return image;
}

// Whether a neighbour right, left, below or above has another label.
export function isEdge(labels, i, width, height) {
  const x = i % width;
  const y = (i - x) / width;
  return (
    (x > 0 && labels[i - 1] !== labels[i]) ||
    (x < width - 1 && labels[i + 1] !== labels[i]) ||
    (y > 0 && labels[i - width] !== labels[i]) ||
    (y < height - 1 && labels[i + width] !== labels[i])
  );
}

// What one works on comes into view, once, unless most of it is seen.
function reveal(element) {
  const hidden = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
  const { top, bottom, height } = element.getBoundingClientRect();
  const seen = Math.min(bottom, innerHeight) - Math.max(top, hidden);
  if (seen >= 0.6 * height) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "start", behavior: calm ? "instant" : "smooth" });
}

export const within = (value, [low, high]) => Math.min(high, Math.max(low, value));
export const signed = (value) => value.replace("-", "−"); // a minus, no hyphen
export const grouped = (value) => value.toLocaleString("en"); // 16,667

// Two digits of shares, or three where less than all would read 1.00.
export function rounded(...values) {
  const digits = values.some((value) => value < 1 && value.toFixed(2) === "1.00") ? 3 : 2;
  return values.map((value) => {
    if (isNaN(value)) return "–";
    const text = value.toFixed(digits);
    return value < 1 && text === "1.000" ? "0.999" : text;
  });
}

// [English, Chinese] as segedu.viz.grids.bilingual has it.
export function bilingual([english, chinese]) {
  const half = (className, lang, textContent) =>
    Object.assign(document.createElement("span"), { className, lang, textContent });
  return [half("lang-en", "en", english), " ", half("lang-zh", "zh-CN", chinese)];
}

// The same for an attribute, which holds text alone: in the languages of the edition.
export function label([english, chinese]) {
  return { en: english, zh: chinese }[document.body.dataset.edition] ?? `${english} ｜ ${chinese}`;
}

// A canvas forgets what it shows when its sides are set.
export function resize(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

// --- a figure ----------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] };

// Pictures, of which one is shown, and what they are asked about: `respond` is each kind's own.
export class Figure {
  constructor(root, pictures) {
    Object.assign(this, { root, pictures, cursor: null });
    this.about = JSON.parse(root.dataset.about);
    this.canvas = this.find('[data-panel="picture"]');
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // Asks the networks; what changes meanwhile is asked once more at the end.
  async ask() {
    this.stale = true;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.stale) {
        this.stale = false;
        await this.respond();
        await new Promise(requestAnimationFrame); // what was drawn is shown
      }
    } finally {
      this.busy = false;
    }
  }

  // How long an answer took, in words.
  took(milliseconds) {
    for (const place of this.root.querySelectorAll(".segedu-live-time b")) {
      place.textContent = milliseconds.toFixed(0);
    }
  }

  // The reader has found out what to do first.
  begun() {
    this.find(".segedu-live-hint").hidden = true;
  }

  // What the keys do, [English, Chinese], which is seen while the keyboard has the picture.
  tellKeys(words) {
    if (!this.keys) {
      this.keys = Object.assign(document.createElement("span"), { className: "segedu-live-keys" });
      this.canvas.after(this.keys);
    }
    this.keys.replaceChildren(...bilingual(words));
    this.keys.hidden = false;
  }

  // Of several texts the one with this key.
  say(key) {
    for (const text of this.root.querySelectorAll("[data-help]")) text.hidden = text.dataset.help !== key;
  }

  // Where in the picture a pointer is, in pixels; it may point at an answer.
  place(event, canvas = this.canvas) {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.picture.width,
      y: ((event.clientY - box.top) / box.height) * this.picture.height,
    };
  }

  // Moves what the keyboard moves, at first from the middle, and says how far.
  moveCursor(key) {
    const [dx, dy] = ARROWS[key] ?? [0, 0];
    const { width, height } = this.picture;
    const { x, y } = this.cursor ?? { x: width / 2, y: height / 2 };
    this.cursor = { x: within(x + dx, [0, width]), y: within(y + dy, [0, height]) };
    return [dx, dy];
  }
}

export const isArrow = (key) => key in ARROWS;

// The smallest program with an instruction of SIMD, i8x16.splat.
const SIMD = new Uint8Array([
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0],
  ...[253, 15, 253, 98, 11],
]);
let figures = 0;

async function build(root, whenLoaded) {
  const files = new URL(root.dataset.files, document.baseURI);
  const missing = (error) => Promise.reject(new Problem(MISSING, error));
  const kind = await import(new URL(`live-${root.dataset.kind}.js`, import.meta.url)).catch(missing);
  const pictures = await Promise.all([...root.querySelectorAll("[data-picture]")].map(readPicture));
  for (const radio of root.querySelectorAll("input[type=radio]")) {
    radio.name = `live-${radio.dataset.control}-${figures}`;
  }
  figures += 1;
  return kind.build(root, pictures, (name) => networkOf(files, name, whenLoaded));
}

// Whether the reader has gone nowhere else since the button was pressed, which is off meanwhile.
const unfocused = (button) => [null, document.body, button].includes(document.activeElement);

// Loads what the figure needs and shows it in place of the still picture; `says` tells the reader.
export async function start(root, says) {
  const button = root.querySelector('[data-control="start"]');
  const bar = root.querySelector("progress");
  const byKeyboard = button.matches(":focus-visible"); // it then works on with the picture
  if (!globalThis.WebAssembly?.validate(SIMD)) return says("unable");
  button.disabled = true;
  bar.hidden = false;
  says("loading");
  try {
    const figure = await build(root, () => {
      bar.hidden = true;
      says("starting");
    });
    await figure.ask();
    root.segeduLive = figure; // for tests, and for whoever is curious
    root.querySelector(".segedu-live-still").hidden = true;
    root.querySelector(".segedu-live-stage").hidden = false;
    root.querySelector(".segedu-live-hint").hidden = false;
    for (const part of root.querySelectorAll("[inert]")) part.inert = false;
    says("waiting"); // seen no more, it keeps its room
    reveal(figure.canvas);
    if (byKeyboard && unfocused(button)) figure.canvas.focus({ preventScroll: true });
  } catch (error) {
    button.disabled = false;
    if (byKeyboard && unfocused(button)) button.focus({ preventScroll: true });
    bar.hidden = true;
    console.warn(error);
    says(error.kind ?? DAMAGED);
  }
}
