// A picture to paint on, and what semantic networks say of it (segedu.viz.live).

import * as live from "./live.js";

const { firstChannel, grouped, isArrow, isEdge, pixelsOf, rgbOf, rounded, signed, within } = live;
const IGNORE = 255;
const ALPHA = 0.5; // of the classes' colours, as segedu.viz.overlay has it
const ERROR_ALPHA = 0.7; // as segedu.viz.binary_errors has it
const KEYS = {
  paint: ["Keys: arrows move the brush, space or Enter paints", "按键：方向键移动画笔，空格或回车涂抹"],
  move: ["Keys: arrows move the object", "按键：方向键移动物体"],
};
const HELP = { // more than the figure has
  alone: ["Drag what has the white outline.", "拖动有白色轮廓的物体。"],
  away: ["The object is outside: make the picture smaller.", "物体在画面之外：请缩小图片。"],
};
const MOVED = ["a picture with an object: arrow keys move it", "有一个物体的图片：方向键移动它"];

// The parts of a picture as the figure needs them.
function prepared({ width, height, rgb, parts }) {
  const picture = { width, height, rgb, truth: firstChannel(parts.truth) };
  if (parts.mask) {
    picture.mask = firstChannel(parts.mask);
    picture.room = roomAround(picture.mask, width, height);
    picture.without = {
      rgb: rgbOf(parts["image-without"]),
      truth: firstChannel(parts["truth-without"]),
    };
  }
  return picture;
}

// How far an object can be moved before it leaves the picture: left and right, up and down.
function roomAround(mask, width, height) {
  const columns = [];
  const rows = [];
  mask.forEach((inside, i) => {
    if (!inside) return;
    columns.push(i % width);
    rows.push(Math.floor(i / width));
  });
  const room = (places, side) => [
    -places.reduce((a, b) => Math.min(a, b)),
    side - 1 - places.reduce((a, b) => Math.max(a, b)),
  ];
  return { dx: room(columns, width), dy: room(rows, height) };
}

// The picture with its object moved by (dx, dy) pixels.
function moved(picture, dx, dy) {
  const { width, height, rgb, truth, mask, without } = picture;
  if (!mask || (!dx && !dy)) return { rgb, truth };
  const result = { rgb: without.rgb.slice(), truth: without.truth.slice() };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = y * width + x;
      if (!mask[from]) continue;
      const to = from + dy * width + dx;
      result.truth[to] = truth[from];
      result.rgb.set(rgb.subarray(3 * from, 3 * from + 3), 3 * to);
    }
  }
  return result;
}

// Of each place along a side what is seen there, scaled about the middle; -1 for nothing.
function places(side, scale) {
  return Array.from({ length: side }, (_, i) => {
    const place = Math.floor((i + 0.5 - side / 2) / scale + side / 2);
    return place < 0 || place >= side ? -1 : place;
  });
}

// Of each pixel of the scaled picture which one of the picture it shows; -1 for none.
function sources(width, height, scale) {
  const columns = places(width, scale);
  const result = new Int32Array(width * height);
  places(height, scale).forEach((row, y) =>
    columns.forEach((column, x) => {
      result[y * width + x] = row < 0 || column < 0 ? -1 : row * width + column;
    }),
  );
  return result;
}

// A small picture lies on one colour, and what is outside of it has no truth.
function scaled({ rgb, truth }, from, outside) {
  const result = { rgb: new Float32Array(rgb.length), truth: new Uint8Array(truth.length) };
  from.forEach((place, to) => {
    result.truth[to] = place < 0 ? IGNORE : truth[place];
    result.rgb.set(place < 0 ? outside : rgb.subarray(3 * place, 3 * place + 3), 3 * to);
  });
  return result;
}

// Where something lies less than `reach` pixels away, along rows and along columns.
function widened(mask, width, height, reach) {
  const along = (from, length, step, i, place) => {
    for (let k = Math.max(0, place - reach); k <= Math.min(length - 1, place + reach); k++) {
      if (from[i + (k - place) * step]) return 1;
    }
    return 0;
  };
  const wide = mask.map((_, i) => along(mask, width, 1, i, i % width));
  return wide.map((_, i) => along(wide, height, width, i, Math.floor(i / width)));
}

// Light and hue: each pixel by a rotation about the axis of the greys.
function coloured(rgb, brightness, hue) {
  if (brightness === 1 && hue === 0) return rgb;
  const cosine = Math.cos((hue * Math.PI) / 180);
  const sine = Math.sin((hue * Math.PI) / 180) / Math.sqrt(3);
  const third = (1 - cosine) / 3;
  const [same, next, other] = [cosine + third, third - sine, third + sine].map((x) => x * brightness);
  const result = new Float32Array(rgb.length);
  for (let i = 0; i < rgb.length; i += 3) {
    const [r, g, b] = [rgb[i], rgb[i + 1], rgb[i + 2]];
    result[i] = same * r + next * g + other * b;
    result[i + 1] = other * r + same * g + next * b;
    result[i + 2] = next * r + other * g + same * b;
  }
  return result;
}

// Grey values of a CT as a window shows them; black and white are cut off.
function windowed(rgb, [low, high], level, width) {
  const factor = (high - low) / width;
  const shift = 255 * ((low - level) / width + 0.5);
  return rgb.map((value) => within(factor * value + shift, [0, 255]));
}

// Gaussian filter, along rows and then along columns; the border goes on outside.
function blurred(rgb, width, height, deviation) {
  if (!deviation) return rgb;
  const radius = Math.floor(4 * deviation + 0.5);
  const weights = Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * deviation ** 2)),
  );
  const total = weights.reduce((sum, weight) => sum + weight);
  const along = (from, length, others, step, otherStep) => {
    const result = new Float32Array(from.length);
    for (let other = 0; other < others; other++) {
      for (let i = 0; i < length; i++) {
        for (let c = 0; c < 3; c++) {
          let sum = 0;
          for (let k = -radius; k <= radius; k++) {
            const place = Math.min(length - 1, Math.max(0, i + k));
            sum += weights[k + radius] * from[3 * (other * otherStep + place * step) + c];
          }
          result[3 * (other * otherStep + i * step) + c] = sum / total;
        }
      }
    }
    return result;
  };
  return along(along(rgb, width, height, 1, width), height, width, width, 1);
}

// Normal numbers, the same in every browser and at every call.
function normals(count) {
  let state = 1;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

class Figure extends live.Figure {
  constructor(root, pictures, patterns, answers) {
    super(root, pictures);
    Object.assign(this, { patterns, answers });
    this.values = {};
    for (const slider of root.querySelectorAll("input[type=range]")) {
      this.values[slider.dataset.control] = Number(slider.value);
    }
    this.start = { ...this.values };
    this.marks = true;
    this.label = this.canvas.ariaLabel; // of a picture to paint on
    for (const [key, words] of Object.entries(HELP)) {
      const text = Object.assign(document.createElement("span"), { hidden: true });
      text.dataset.help = key;
      text.append(...live.bilingual(words));
      this.find(".segedu-live-help").append(text);
    }
    for (const answer of answers) {
      answer.name = Object.assign(document.createElement("span"), { className: "segedu-live-class", hidden: true });
      answer.name.ariaLive = "polite";
      answer.canvas.after(answer.name);
    }
    this.names = [...this.find(".segedu-live-legend > div").children].map((entry) => [...entry.childNodes].slice(1));
    this.choose(0);
    this.take(0);
    this.listen();
  }

  // Another picture, as it was.
  choose(number) {
    const picture = this.pictures[number];
    Object.assign(this, { picture, dx: 0, dy: 0, cursor: null });
    const { width, height } = picture;
    for (const canvas of this.root.querySelectorAll("canvas")) live.resize(canvas, width, height);
    this.paint = new Float32Array(3 * width * height);
    this.painted = new Uint8Array(width * height);
    this.noise = normals(3 * width * height);
    for (const answer of this.answers) answer.before = null;
    this.name(null);
    this.offer();
  }

  get moves() {
    return this.patterns[this.brush] === "move";
  }

  // Where nothing can be moved, the tool for it cannot be chosen, and without paint none is taken away.
  offer() {
    const brushes = [...this.root.querySelectorAll('[data-control="brush"]')];
    brushes.forEach((radio, i) => {
      radio.disabled = this.patterns[i] === "move" && !this.picture.mask;
      radio.parentElement.title = radio.disabled ? radio.nextElementSibling.dataset.off : "";
    });
    if (this.patterns[this.brush] !== "erase" && !brushes[this.brush]?.disabled) return;
    brushes[0].checked = true;
    this.take(0);
  }

  // Another brush or tool, and what to do with it in words.
  take(number) {
    this.brush = number;
    this.cursor = null;
    this.canvas.classList.toggle("moves", this.moves);
    const kind = this.moves ? "move" : "paint";
    this.say(kind);
    this.tellKeys(KEYS[kind]);
    this.canvas.ariaLabel = this.moves ? live.label(MOVED) : this.label;
  }

  // Where the object that can be moved is seen.
  get object() {
    const { width, mask } = this.picture;
    const there = new Uint8Array(mask.length);
    const shift = Math.round(this.dy) * width + Math.round(this.dx);
    mask.forEach((inside, i) => inside && (there[i + shift] = 1));
    return Uint8Array.from(this.from, (place) => place >= 0 && there[place]);
  }

  // The middle one of its pixels, if it has any.
  get middle() {
    const { width } = this.picture;
    const pixels = [...this.object.keys()].filter((i) => this.object[i]);
    const i = pixels[pixels.length >> 1];
    return pixels.length ? { x: i % width, y: Math.floor(i / width) } : null;
  }

  // It has an outline while that tool is chosen, white inside and black around it.
  outline({ data }) {
    const { width, height } = this.picture;
    const { object } = this;
    const found = this.painted.includes(1) ? "move" : "alone";
    this.say(object.includes(1) ? found : "away");
    object.forEach((inside, i) => {
      if (isEdge(object, i, width, height)) data.fill(inside ? 255 : 0, 4 * i, 4 * i + 3);
    });
  }

  // What the network sees, whole numbers 0..255, and the truth; kept in `seen` and `truth`.
  compose({ scale = 1, brightness = 1, hue = 0, blur = 0, noise = 0, ...window }) {
    const { hounsfield, outside } = this.about;
    const { width, height } = this.picture;
    this.from = sources(width, height, scale);
    const whole = moved(this.picture, Math.round(this.dx), Math.round(this.dy));
    const base = scaled(whole, this.from, outside);
    let rgb = base.rgb.slice();
    for (let i = 0; i < this.painted.length; i++) {
      if (this.painted[i]) rgb.set(this.paint.subarray(3 * i, 3 * i + 3), 3 * i);
    }
    if (hounsfield) {
      rgb = windowed(rgb, hounsfield, window.level, window.width);
      this.showPaint(window);
    }
    rgb = blurred(coloured(rgb, brightness, hue), width, height, blur);
    this.seen = Uint8ClampedArray.from(rgb, (value, i) => value + noise * this.noise[i]);
    this.from.forEach((place, i) => place < 0 && this.seen.set(outside, 3 * i));
    this.base = base.rgb;
    this.truth = base.truth;
  }

  // The brushes of a CT have the look of their paint in the window.
  showPaint({ level, width }) {
    if (this.shownIn === `${level} ${width}`) return;
    this.shownIn = `${level} ${width}`;
    const canvas = document.createElement("canvas");
    this.root.querySelectorAll('[data-control="brush"]').forEach((radio, i) => {
      const pattern = this.patterns[i];
      if (!pattern.rgba) return; // a tool
      live.resize(canvas, pattern.width, pattern.height);
      const rgb = windowed(rgbOf(pattern), this.about.hounsfield, level, width);
      const plain = new Uint8Array(rgb.length / 3);
      canvas.getContext("2d").putImageData(live.overlaid(rgb, plain, [], 0, pattern), 0, 0);
      radio.nextElementSibling.src = canvas.toDataURL();
    });
  }

  // What a brush puts down, everywhere.
  pattern() {
    const { width, height } = this.picture;
    const pattern = this.patterns[this.brush];
    if (pattern === "blur") return blurred(this.base, width, height, 3);
    if (pattern === "noise") return this.base.map((value, i) => value + 60 * this.noise[i]);
    const result = new Float32Array(3 * width * height);
    for (let y = 0, to = 0; y < height; y++) {
      for (let x = 0; x < width; x++, to += 3) {
        const from = 4 * ((y % pattern.height) * pattern.width + (x % pattern.width));
        for (let c = 0; c < 3; c++) result[to + c] = pattern.rgba[from + c];
      }
    }
    return result;
  }

  // Of the brush, in pixels; its slider has what it measures across, in percent of the height.
  get radius() {
    return (this.values.size / 200) * this.picture.height;
  }

  stroke(fromX, fromY, toX, toY) {
    const { width, height } = this.picture;
    const { radius } = this;
    const erases = this.patterns[this.brush] === "erase";
    this.source ??= erases ? null : this.pattern();
    const steps = Math.ceil(Math.hypot(toX - fromX, toY - fromY) / (radius / 2)) || 1;
    for (let step = 0; step <= steps; step++) {
      const x = fromX + ((toX - fromX) * step) / steps;
      const y = fromY + ((toY - fromY) * step) / steps;
      for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, y + radius); row++) {
        const half = Math.sqrt(radius ** 2 - (row - y) ** 2);
        const last = Math.min(width - 1, x + half);
        for (let column = Math.max(0, Math.ceil(x - half)); column <= last; column++) {
          const i = row * width + column;
          this.painted[i] = erases ? 0 : 1;
          if (!erases) this.paint.set(this.source.subarray(3 * i, 3 * i + 3), 3 * i);
        }
      }
    }
  }

  // --- answers

  async respond() {
    if (!this.answers[0].before) await this.askAbout(this.start); // the picture as it was
    await this.askAbout(this.values);
  }

  async askAbout(values) {
    this.compose(values);
    this.drawPicture();
    const begun = performance.now();
    for (const answer of this.answers) await this.answer(answer);
    this.took((performance.now() - begun) / this.answers.length);
  }

  async answer(answer) {
    const { width, height } = this.picture;
    const input = live.planes(this.seen, this.picture, answer.norm);
    const image = await live.tensor("float32", input, [1, 3, height, width]);
    const found = await answer.session.run({ image });
    answer.logits = found.logits.data;
    this.judge(answer, width * height);
    this.count(answer);
    this.draw(answer);
  }

  // Labels from logits; of a target class 1 and 0, by its probability.
  judge(answer, size) {
    const { target, colors } = this.about;
    const { logits } = answer;
    const threshold = this.values.threshold ?? 0.5;
    answer.labels = new Uint8Array(size);
    for (let i = 0; i < size; i++) {
      let best = 0;
      for (let k = 1; k < colors.length; k++) {
        if (logits[k * size + i] > logits[best * size + i]) best = k;
      }
      if (target !== null) {
        let total = 0;
        for (let k = 0; k < colors.length; k++) total += Math.exp(logits[k * size + i] - logits[best * size + i]);
        const probability = Math.exp(logits[target * size + i] - logits[best * size + i]) / total;
        best = probability >= threshold ? 1 : 0;
      }
      answer.labels[i] = best;
    }
    answer.before ??= answer.labels;
  }

  // The truth of a pixel, now or another one, as labels are; 255 does not count.
  wanted(i, label = this.truth[i]) {
    const { target, countPaint } = this.about;
    const none = label === IGNORE || this.truth[i] === IGNORE;
    if (none || (this.painted[i] && !countPaint)) return IGNORE;
    return target === null ? label : Number(label === target);
  }

  // Where an answer is no longer that for the untouched picture, and the numbers of both, over the
  // same pixels: what paint hides from one counts for neither.
  count(answer) {
    const { before, labels } = answer;
    const old = Uint8Array.from(this.from, (place) => before[place]);
    const truth = Uint8Array.from(this.from, (place) => this.picture.truth[place]);
    answer.changed = labels.map((label, i) => this.wanted(i) !== IGNORE && label !== old[i]);
    this.show(
      answer.panel,
      this.numbers(old, (i) => this.wanted(i, truth[i])),
      this.numbers(labels, (i) => this.wanted(i)),
      answer.changed.reduce((sum, one) => sum + one),
    );
  }

  // Of labels and a truth, over the pixels that have one.
  numbers(labels, wantedAt) {
    const classes = this.about.target === null ? this.about.colors.length : 2;
    const [both, found, truth] = [0, 1, 2].map(() => new Float64Array(classes));
    labels.forEach((label, i) => {
      const wanted = wantedAt(i);
      if (wanted === IGNORE) return;
      found[label]++;
      truth[wanted]++;
      if (label === wanted) both[label]++;
    });
    const ious = Array.from(both, (hits, k) => hits / (found[k] + truth[k] - hits)).filter((x) => !isNaN(x));
    return {
      iou: ious.reduce((sum, iou) => sum + iou, 0) / ious.length,
      precision: both[1] / found[1],
      recall: both[1] / truth[1],
      "class-iou": both[1] / (found[1] + truth[1] - both[1]),
    };
  }

  // Whether all is as it was; the size of the brush changes nothing.
  get untouched() {
    if (this.dx || this.dy || this.painted.includes(1)) return false;
    return Object.keys(this.values).every((name) => name === "size" || this.values[name] === this.start[name]);
  }

  show(panel, before, now, changed) {
    for (const place of panel.querySelectorAll("[data-shows]")) {
      const key = place.dataset.shows;
      const both = rounded(before[key], now[key]);
      const text = this.untouched || both.every((one) => one === "–") ? both[1] : both.join(" → ");
      place.textContent = key === "changed" ? grouped(changed) : text;
    }
  }

  draw(answer) {
    const { colors, errors, target } = this.about;
    const all = target === null;
    const shown = answer.labels.map((label, i) => {
      if (this.from[i] < 0) return IGNORE; // has no colour
      return all ? label : this.verdict(label, i);
    });
    const palette = all ? colors : [null, ...errors];
    const image = live.overlaid(this.seen, shown, palette, all ? ALPHA : ERROR_ALPHA, this.picture);
    if (all && this.marks) this.mark(image, answer.changed);
    answer.canvas.getContext("2d").putImageData(image, 0, 0);
    answer.shown = shown;
    this.name();
  }

  // Says on each answer what its colour means at a place of the picture, the last one if none is
  // given; nothing where that is null, or where no class has its colour.
  name(place = this.named) {
    this.named = place;
    const { width, height } = this.picture;
    const x = place && within(Math.floor(place.x), [0, width - 1]);
    const y = place && within(Math.floor(place.y), [0, height - 1]);
    for (const answer of this.answers) {
      const { name, shown } = answer;
      const words = place && shown && this.meaning(shown[y * width + x], y * width + x);
      name.hidden = !words;
      if (!words) continue;
      name.classList.toggle("is-below", y < 0.3 * height);
      name.style.setProperty("--x", (x + 0.5) / width);
      name.style.setProperty("--y", (y + 0.5) / height);
      if (answer.words !== words) name.replaceChildren(...words.map((node) => node.cloneNode(true)));
      answer.words = words;
    }
  }

  // What the legend says of what is drawn at a pixel.
  meaning(label, i) {
    if (this.from[i] < 0) return this.names.at(-1);
    return this.names[this.about.target === null ? label : label - 1];
  }

  // Hit, false alarm, miss, ignored: 1 to 4; 0 where both say no, or paint hides the truth.
  verdict(found, i) {
    if (this.truth[i] === IGNORE) return 4;
    const wanted = this.wanted(i);
    if (wanted === IGNORE) return 0;
    if (found) return wanted ? 1 : 2;
    return wanted ? 3 : 0;
  }

  // A dashed line around what changed, at a distance, so that it does not hide it.
  mark({ data }, changed) {
    const { width, height } = this.picture;
    const around = widened(changed, width, height, 2);
    around.forEach((inside, i) => {
      if (!inside || !isEdge(around, i, width, height)) return;
      const white = ((i % width) + Math.floor(i / width)) % 4 < 2;
      data.fill(white ? 255 : 0, 4 * i, 4 * i + 3);
    });
  }

  // The picture, and where the brush is if the keyboard or a mouse moves it.
  drawPicture() {
    const image = live.overlaid(this.seen, this.painted, [], 0, this.picture);
    if (this.moves) this.outline(image);
    const context = this.canvas.getContext("2d");
    context.putImageData(image, 0, 0);
    if (!this.cursor || this.moves) return;
    for (const [colour, rim] of [["#000", 1], ["#fff", 0]]) {
      context.strokeStyle = colour;
      context.beginPath();
      context.arc(this.cursor.x, this.cursor.y, this.radius + rim, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // --- the reader

  // From one place to another, with what is chosen.
  act(from, to) {
    this.begun();
    if (this.moves) {
      const { dx, dy } = this.picture.room;
      const { scale = 1 } = this.values;
      this.dx = within(this.dx + (Math.round(to.x) - Math.round(from.x)) / scale, dx);
      this.dy = within(this.dy + (Math.round(to.y) - Math.round(from.y)) / scale, dy);
    } else {
      this.stroke(from.x, from.y, to.x, to.y);
    }
    this.ask();
  }

  listen() {
    let last = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.source = null;
      last = this.place(event);
      this.point(last);
      this.act(last, last);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const next = this.place(event);
      if (last || event.pointerType === "mouse") this.point(next);
      if (!last) return;
      this.act(last, next);
      last = next;
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, (event) => {
        last = null;
        if (event.pointerType !== "mouse" || !this.holds(this.place(event))) this.point(null);
      });
    }
    for (const { canvas } of this.answers) {
      for (const kind of ["pointerdown", "pointermove"]) {
        canvas.addEventListener(kind, (event) => this.name(this.place(event, canvas)));
      }
    }
    for (const canvas of this.root.querySelectorAll(".segedu-live-panels canvas")) {
      canvas.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && this.name(null));
    }
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    for (const end of ["blur", "pointerleave"]) this.canvas.addEventListener(end, () => this.point(null));
    this.root.addEventListener("input", (event) => this.change(event.target));
    this.find('[data-control="reset"]').addEventListener("click", () => this.reset());
  }

  // Whether a place is in the picture; while a button is held, a mouse may be elsewhere.
  holds({ x, y }) {
    const { width, height } = this.picture;
    return x >= 0 && x < width && y >= 0 && y < height;
  }

  // Where the brush is, if it is to be seen; what is said there is named, also when a finger is gone.
  point(place) {
    this.cursor = place;
    if (place) this.name(place);
    if (this.seen) this.drawPicture();
  }

  press(event) {
    const paints = [" ", "Enter"].includes(event.key);
    if (!paints && !isArrow(event.key)) return;
    event.preventDefault();
    this.source = null;
    const [dx, dy] = this.moveCursor(event.key);
    if (!paints && !this.moves) return this.point(this.cursor);
    this.keys.hidden = true; // the reader has found out
    if (paints) this.act(this.cursor, this.cursor);
    else this.act({ x: 0, y: 0 }, { x: dx, y: dy });
    this.name(this.moves ? this.middle : this.cursor);
  }

  change(control) {
    const { control: name } = control.dataset;
    if (name === "brush") {
      this.take(Number(control.value));
      if (this.moves) this.begun(); // the help says what to do with it
      this.drawPicture(); // with an outline, or without
      return;
    }
    if (name !== "size") this.begun();
    if (name === "marks") {
      this.marks = control.checked;
      for (const answer of this.answers) this.draw(answer);
      return;
    }
    if (name === "picture") this.choose(Number(control.value));
    else this.values[name] = Number(control.value);
    if (control.type === "range") control.nextElementSibling.textContent = signed(control.value);
    if (name === "size") this.drawPicture();
    else this.ask();
  }

  reset() {
    for (const slider of this.root.querySelectorAll("input[type=range]")) {
      slider.value = slider.defaultValue;
      this.values[slider.dataset.control] = Number(slider.value);
      slider.nextElementSibling.textContent = signed(slider.value);
    }
    this.choose(this.pictures.indexOf(this.picture));
    this.ask();
  }
}

// The figure of a frame, once its networks are there.
export async function build(root, pictures, network) {
  const answers = await Promise.all(
    [...root.querySelectorAll("[data-network]")].map(async (panel) => ({
      panel,
      canvas: panel.querySelector("canvas"),
      norm: JSON.parse(panel.dataset.norm),
      session: await network(panel.dataset.network),
    })),
  );
  const brushes = [...root.querySelectorAll('[data-control="brush"]')];
  const patterns = await Promise.all(
    brushes.map(({ nextElementSibling: mark }) => mark.dataset.tool ?? pixelsOf(mark)),
  );
  return new Figure(root, pictures.map(prepared), patterns, answers);
}
