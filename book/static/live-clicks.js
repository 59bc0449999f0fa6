// A picture to click on, and the mask that a promptable network gives (segedu.viz.clicks).

import * as live from "./live.js";

const { firstChannel, isArrow, rounded } = live;
const ALPHA = 0.5; // of the mask, as segedu.viz.overlay_instances has it
const RGB = [[0, 0, 0], [1, 1, 1]]; // the network itself takes off mean and deviation
const KEYS = ["Keys: arrows move the cross, Enter clicks", "按键：方向键移动十字，回车点击"];

class Figure extends live.Figure {
  constructor(root, pictures, encoder, decoder) {
    super(root, pictures);
    Object.assign(this, { encoder, decoder });
    this.masks = [...root.querySelectorAll('[data-control="mask"]')];
    this.choose(0);
    this.tellKeys(KEYS);
    this.listen();
  }

  // Another picture, without clicks.
  choose(number) {
    Object.assign(this, { picture: this.pictures[number], cursor: null });
    const { width, height } = this.picture;
    const { zoom } = this.about;
    live.resize(this.canvas, zoom * width, zoom * height);
    for (const radio of this.masks) live.resize(radio.nextElementSibling, width, height);
    this.clear();
  }

  // No clicks, and the next one is on an object.
  clear() {
    this.clicks = [];
    this.answers = [];
    this.find('[data-sign="1"]').previousElementSibling.checked = true;
  }

  // --- answers

  // One answer for each click; when the clicks change meanwhile, what is under way does not count.
  async respond() {
    const { picture } = this;
    picture.embedding ??= await this.embed(picture);
    while (this.answers.length < this.clicks.length && this.picture === picture) {
      const { clicks } = this;
      const begun = performance.now();
      const answer = await this.decode(picture, clicks.slice(0, this.answers.length + 1), this.answers.at(-1));
      if (this.clicks !== clicks || this.picture !== picture) continue;
      this.took(performance.now() - begun);
      this.answers.push(answer);
    }
    this.draw();
  }

  async embed({ rgb, width, height }) {
    const input = live.planes(rgb, { width, height }, RGB);
    const image = await live.tensor("float32", input, [1, 3, height, width]);
    return (await this.encoder.run({ image })).embedding;
  }

  async decode({ embedding, width, height }, clicks, before) {
    const side = 4 * embedding.dims[2]; // of a mask prompt
    const mask = before ? before.lowRes[before.chosen] : new Float32Array(side * side);
    const points = clicks.flatMap(({ x, y }) => [x, y]);
    const labels = clicks.map(({ label }) => BigInt(label));
    const found = await this.decoder.run({
      embedding,
      points: await live.tensor("float32", new Float32Array(points), [1, clicks.length, 2]),
      labels: await live.tensor("int64", new BigInt64Array(labels), [1, clicks.length]),
      mask: await live.tensor("float32", mask, [1, 1, side, side]),
      has_mask: await live.tensor("float32", new Float32Array([before ? 1 : 0]), [1]),
    });
    const used = before ? [0] : [1, 2, 3]; // one click may mean three things, several only one
    const [size, ious] = [found.logits.dims[2], found.iou.data];
    return {
      logits: used.map((k) => corner(found.logits.data.subarray(k * size ** 2), size, width, height)),
      lowRes: used.map((k) => found.low_res.data.slice(k * side ** 2, (k + 1) * side ** 2)),
      ious: used.map((k) => ious[k]),
      chosen: used.reduce((best, k, place) => (ious[k] > ious[used[best]] ? place : best), 0),
    };
  }

  // 1 where the mask of an answer is.
  maskOf({ logits, chosen }, number = chosen) {
    return Uint8Array.from(logits[number], (value) => value > 0);
  }

  // The first click that is said to be on an object.
  get first() {
    return this.clicks.find(({ label }) => label === 1);
  }

  // Number of the object under it, or 0.
  get object() {
    const { objects, width } = this.picture;
    return this.first ? objects[this.first.y * width + this.first.x] : 0;
  }

  // IoU of a mask with that object.
  iou(mask) {
    const { object } = this;
    const { objects } = this.picture;
    if (!object) return NaN;
    let [both, either] = [0, 0];
    for (let i = 0; i < mask.length; i++) {
      const wanted = objects[i] === object;
      both += mask[i] && wanted;
      either += mask[i] || wanted;
    }
    return both / either;
  }

  // The sides of pixels where that object ends, [x, y, x, y] from corner to corner.
  outline() {
    const { object } = this;
    const { objects, width, height } = this.picture;
    const inside = (x, y) => x >= 0 && x < width && y >= 0 && y < height && objects[y * width + x] === object;
    const sides = [];
    for (let y = 0; object && y <= height; y++) {
      for (let x = 0; x <= width; x++) {
        if (inside(x, y) !== inside(x - 1, y)) sides.push([x, y, x, y + 1]);
        if (inside(x, y) !== inside(x, y - 1)) sides.push([x, y, x + 1, y]);
      }
    }
    return sides;
  }

  // --- what is shown

  draw() {
    const answer = this.answers.at(-1);
    const { rgb, width, height } = this.picture;
    const { color } = this.about;
    const count = this.answers.length;
    const mask = answer ? this.maskOf(answer) : new Uint8Array(width * height);
    this.image = live.overlaid(rgb, mask, [null, color], ALPHA, this.picture);
    this.drawPicture();
    const shown = {
      estimate: answer ? expected(answer.ious[answer.chosen]) : "–",
      iou: answer ? rounded(this.iou(mask))[0] : "–",
      clicks: `${count}`,
    };
    for (const place of this.root.querySelectorAll("[data-shows]")) place.textContent = shown[place.dataset.shows];
    this.offer();
    this.advise();
    for (const name of ["undo", "reset"]) this.find(`[data-control="${name}"]`).disabled = !count;
  }

  // What to do next, in words.
  advise() {
    const count = this.clicks.length;
    if (!count) return this.say(this.sign ? "first" : "minus");
    if (count >= this.about.limit) return this.say("full");
    if (!this.first) return this.say("only-minus");
    this.say(!this.object ? "nothing" : count === 1 ? "choose" : "more");
  }

  // The masks that the first click may mean; more clicks mean one of them, then none can be chosen.
  offer() {
    const [answer] = this.answers;
    const { rgb, width, height } = this.picture;
    this.masks.forEach((radio, number) => {
      const mask = answer ? this.maskOf(answer, number) : new Uint8Array(width * height);
      const image = live.overlaid(rgb, mask, [null, this.about.color], ALPHA, this.picture);
      radio.nextElementSibling.getContext("2d").putImageData(image, 0, 0);
      radio.checked = number === answer?.chosen;
      radio.disabled = this.answers.length !== 1;
      radio.parentElement.querySelector("b").textContent = answer ? expected(answer.ious[number]) : "–";
    });
  }

  // The picture under its mask, the true outline, the clicks, and the cross of the keyboard.
  drawPicture() {
    const { width, height } = this.picture;
    const { zoom, signs } = this.about;
    const context = this.canvas.getContext("2d");
    this.small ??= document.createElement("canvas");
    Object.assign(this.small, { width, height });
    this.small.getContext("2d").putImageData(this.image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.small, 0, 0, zoom * width, zoom * height);
    const line = (colour, wide, ...ends) => {
      Object.assign(context, { strokeStyle: colour, lineWidth: wide });
      context.beginPath();
      for (const [fromX, fromY, toX, toY] of ends) {
        context.moveTo(fromX, fromY);
        context.lineTo(toX, toY);
      }
      context.stroke();
    };
    const outline = this.outline().map((side) => side.map((place) => zoom * place));
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) line(colour, wide, ...outline);
    for (const { x: column, y: row, label } of this.clicks) {
      const [x, y] = [zoom * (column + 0.5), zoom * (row + 0.5)];
      context.fillStyle = `rgb(${signs[label]})`;
      context.beginPath();
      context.arc(x, y, 6.5, 0, 2 * Math.PI);
      context.fill();
      Object.assign(context, { strokeStyle: "#fff", lineWidth: 2 });
      context.stroke();
      line("#fff", 2, [x - 4, y, x + 4, y], ...(label ? [[x, y - 4, x, y + 4]] : []));
    }
    if (!this.cursor) return;
    const [x, y] = [zoom * this.cursor.x, zoom * this.cursor.y];
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
      line(colour, wide, [x - 11, y, x + 11, y], [x, y - 11, x, y + 11]);
    }
  }

  // --- the reader

  click({ x, y }, label) {
    if (this.clicks.length >= this.about.limit) return;
    this.begun();
    const { width, height } = this.picture;
    const [column, row] = [Math.min(Math.floor(x), width - 1), Math.min(Math.floor(y), height - 1)];
    this.clicks = [...this.clicks, { x: column, y: row, label }];
    this.ask();
  }

  // Takes the last click back, with its answer.
  undo() {
    this.clicks = this.clicks.slice(0, -1);
    this.answers = this.answers.slice(0, this.clicks.length);
    this.ask();
  }

  // What a click says that does not say it itself.
  get sign() {
    return Number(this.find('[data-control="sign"]:checked').nextElementSibling.dataset.sign);
  }

  listen() {
    this.canvas.addEventListener("click", (event) => {
      this.cursor = null;
      this.click(this.place(event), this.sign);
    });
    this.canvas.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      this.cursor = null;
      this.click(this.place(event), 0);
    });
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("blur", () => {
      this.cursor = null;
      if (this.image) this.drawPicture();
    });
    this.root.addEventListener("input", ({ target }) => this.change(target));
    this.find('[data-control="undo"]').addEventListener("click", () => this.undo());
    this.find('[data-control="reset"]').addEventListener("click", () => {
      this.clear();
      this.ask();
    });
  }

  press(event) {
    const { key } = event;
    const sign = { Enter: this.sign, " ": this.sign, "+": 1, "-": 0 }[key];
    if (sign === undefined && key !== "Backspace" && !isArrow(key)) return;
    event.preventDefault();
    if (key === "Backspace") return this.undo();
    this.moveCursor(key);
    if (sign === undefined) return this.drawPicture();
    this.keys.hidden = true; // the reader has found out
    this.click(this.cursor, sign);
  }

  change({ dataset, value }) {
    if (dataset.control === "picture") this.choose(Number(value));
    if (dataset.control === "mask") this.answers[0].chosen = Number(value) - 1;
    if (dataset.control === "sign") this.advise();
    else this.ask();
  }
}

// An IoU that the network expects: it may guess one below 0, where none is.
const expected = (iou) => rounded(Math.max(0, iou))[0];

// The upper left part of a square map.
function corner(map, side, width, height) {
  const part = new Float32Array(width * height);
  for (let y = 0; y < height; y++) part.set(map.subarray(y * side, y * side + width), y * width);
  return part;
}

// The figure of a frame, once its networks are there.
export async function build(root, pictures, network) {
  const { network: name } = root.querySelector("[data-network]").dataset;
  const [encoder, decoder] = await Promise.all([network(`${name}.encoder`), network(`${name}.decoder`)]);
  const prepared = pictures.map(({ parts, ...picture }) => ({ ...picture, objects: firstChannel(parts.objects) }));
  return new Figure(root, prepared, encoder, decoder);
}
