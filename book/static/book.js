"use strict";

// The switcher keeps the section that is being read.
function currentSection() {
  // The last heading above this line; at the end of the page the last sections cannot reach the top.
  const { scrollHeight } = document.documentElement;
  const atEnd = window.scrollY + window.innerHeight >= scrollHeight - 4;
  const line = atEnd ? 0.6 * window.innerHeight : 160;
  let current = "";
  for (const section of document.querySelectorAll("article.bd-article section[id]")) {
    if (section.getBoundingClientRect().top <= line) current = section.id;
  }
  const top = document.querySelector("article.bd-article > section[id]");
  return current && (!top || current !== top.id) ? "#" + current : "";
}

for (const link of document.querySelectorAll(".edition-switch a")) {
  const page = link.getAttribute("href");
  link.addEventListener("click", () => {
    link.setAttribute("href", page + window.location.search + currentSection());
  });
}

// What a screen reader says must hold the words that are seen.
for (const summary of document.querySelectorAll("summary[aria-label]")) {
  summary.removeAttribute("aria-label");
}
// The entries of the bibliography are items of the list in which they stand.
for (const entry of document.querySelectorAll('[role="list"] > [role="doc-biblioentry"]')) {
  entry.setAttribute("role", "listitem");
}

// The frames of an explorer are fetched when it comes near, so that the first drag does not flicker;
// the stills of a live network, too, since they are drawn on its panels and never in view themselves.
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      for (const image of target.querySelectorAll("img[loading]")) image.loading = "eager";
      near.unobserve(target);
    }
  },
  { rootMargin: "400px" },
);
for (const figure of document.querySelectorAll(".segedu-frames, .segedu-live")) near.observe(figure);

// The theme looks which code and tables scroll, for the keyboard; fonts that come later are wider.
document.fonts.addEventListener("loadingdone", () => window.dispatchEvent(new Event("resize")));

// A drawing of a network, or the map, that is wider than the page says that it can be moved.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    target.parentElement.classList.toggle("is-wide", target.scrollWidth > target.clientWidth);
  }
});
const drawings = ":is(.segedu-architecture, .chapter-map) > [tabindex]";
for (const drawing of document.querySelectorAll(drawings)) widths.observe(drawing);

// A network that runs in the page: its script, and all else, is fetched when its button is pressed.
// Until it runs, its panels show the still pictures, the button stands below the picture that one will
// work on, and all controls are seen, but off.
const live = new URL("live.js", document.currentScript.src);
const OFF = "canvas[tabindex], .segedu-live-tools, .segedu-live-masks, .segedu-live-controls";
function preview(figure) {
  const stills = figure.querySelectorAll(".segedu-live-still img");
  figure.querySelectorAll("canvas").forEach(async (canvas, i) => {
    await stills[i].decode();
    if (figure.segeduLive) return;
    canvas.getContext("2d").drawImage(stills[i], 0, 0, canvas.width, canvas.height);
  });
  for (const part of figure.querySelectorAll(OFF)) part.inert = true;
  figure.querySelector(".segedu-live-picture canvas").after(figure.querySelector(".segedu-live-start"));
}
for (const figure of document.querySelectorAll(".segedu-live[data-files]")) {
  const button = figure.querySelector('[data-control="start"]');
  const says = (kind) => {
    for (const text of figure.querySelectorAll("[data-says]")) text.hidden = text.dataset.says !== kind;
  };
  button.disabled = window.location.protocol === "file:";
  says(button.disabled ? "disk" : "waiting");
  button.hidden = false;
  preview(figure);
  figure.classList.add("is-ready");
  button.addEventListener("click", () => {
    import(live).then(({ start }) => start(figure, says), () => says("missing"));
  });
}
