"use strict";
// What all pages draw with. All text comes in by textContent and attributes, never as markup.
const drawing = (() => {
  const WIDTH = 1000, HUES = [212, 28, 145, 330, 265, 185, 52, 0, 95, 300];
  const $ = (id) => document.getElementById(id);
  const read = (id) => { const found = $(id); return found && JSON.parse(found.textContent); };

  function add(parent, name, given = {}, text = null) {
    const svg = parent.namespaceURI === "http://www.w3.org/2000/svg" || name === "svg";
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [attribute, value] of Object.entries(given)) made.setAttribute(attribute, value);
    if (text !== null) made.textContent = text;
    parent.append(made);
    return made;
  }
  const hueOf = (i) => (i < HUES.length ? HUES[i] : Math.round(i * 137.5) % 360);
  const cut = (list, size) => Array.from({ length: list.length / size }, (_, i) => list.slice(i * size, i * size + size));

  /** A sheet as scripts use it: lists of numbers cut up, entities as objects. */
  function unpacked({ text, start, page, ratio, tokens = [], strays = [], entities = [] }) {
    return {
      text, start, page, ratio, tokens: cut(tokens, 7), strays,
      entities: entities.map(([layer, label, segments, boxes, score, agrees, id, more], i) =>
        ({ i, layer, label, segments: cut(segments, 2), boxes: cut(boxes, 4), score, agrees, id, more })),
    };
  }

  /** The boxes of segments of the text, a box for each row: of its own, an entity may have none. */
  function boxesAt(sheet, segments) {
    const found = [];
    for (const [start, stop, ...box] of sheet.tokens) {
      if (!segments.some(([a, b]) => start < b && stop > a)) continue;
      const last = found[found.length - 1];
      const height = last && Math.min(last[3] - last[1], box[3] - box[1]);
      const joined = last && Math.min(last[3], box[3]) - Math.max(last[1], box[1]) > 0.4 * height
        && Math.max(box[0] - last[2], last[0] - box[2]) < 3 * height;
      if (joined) found[found.length - 1] = [Math.min(last[0], box[0]), Math.min(last[1], box[1]), Math.max(last[2], box[2]), Math.max(last[3], box[3])];
      else found.push(box.slice(0, 4));
    }
    return found;
  }
  const boxesOf = (sheet, entity) => (entity.boxes.length ? entity.boxes : boxesAt(sheet, entity.segments));

  /**
   * Draw a page: its picture, the marks, and the tokens, or where there is a picture, their places only. A mark is
   * { boxes, classes, out, tag, below, title, given, dress }: `out` is by how much it stands out beyond its boxes, `tag`
   * stands above the first or `below` it, and `dress` is called with what is drawn. Larger marks lie below smaller ones. Returns what draws one more rectangle.
   */
  function drawPage(parent, sheet, picture, { share, fonts, marks }) {
    const height = WIDTH * sheet.ratio, x = (v) => (v / share) * WIDTH, y = (v) => (v / share) * height;
    parent.classList.toggle("pictured", Boolean(picture));
    if (picture) add(parent, "img", { src: `data:${picture}`, alt: "" });
    const svg = add(parent, "svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `page ${sheet.page + 1}: ${sheet.text.slice(0, 300)}` });
    const rect = ([l, t, r, b], more, out = 0) =>
      add(svg, "rect", { x: x(l) - out, y: y(t) - out, width: Math.max(x(r) - x(l), 0.5) + 2 * out, height: Math.max(y(b) - y(t), 0.5) + 2 * out, ...more });
    const area = ({ boxes }) => boxes.reduce((sum, [l, t, r, b]) => sum + (r - l) * (b - t), 0);
    for (const { boxes, classes, out = 0, tag, below = false, title, given = {}, dress = () => {} } of [...marks].sort((one, other) => area(other) - area(one))) {
      boxes.forEach((box, i) => {
        const made = rect(box, { class: classes, ...given }, out);
        dress(made);
        add(made, "title", {}, title);
        if (i === 0 && tag) dress(add(svg, "text", { class: "tag", x: x(box[0]), y: below ? y(box[3]) + out + 8 : Math.max(y(box[1]) - out - 1, 8) }, tag.slice(0, 30)));
      });
    }
    for (const [start, stop, l, t, r, b, font] of sheet.tokens) drawToken(svg, sheet.text.slice(start, stop), x(l), y(t), x(r), y(b), fonts[font]);
    for (const [text, l, t, r, b, font] of sheet.strays) drawToken(svg, text, x(l), y(t), x(r), y(b), fonts[font]);
    return rect;
  }

  function drawToken(svg, text, l, t, r, b, [, size, bold, italic, invisible]) {
    add(svg, "rect", { class: "outline", x: l, y: t, width: Math.max(r - l, 0), height: Math.max(b - t, 0) });
    const aside = b - t > 1.3 * (r - l) && text.length > 2, long = aside ? b - t : r - l, high = aside ? r - l : b - t;
    if (!(long > 0 && high > 0)) return;
    const given = { class: invisible ? "token invisible" : "token", "font-size": (high * 0.8).toFixed(2), textLength: long.toFixed(2), lengthAdjust: "spacingAndGlyphs" };
    if (aside) Object.assign(given, { transform: `translate(${r - high * 0.2} ${b}) rotate(-90)` });
    else Object.assign(given, { x: l.toFixed(2), y: (b - high * 0.22).toFixed(2) });
    if (bold) given["font-weight"] = "bold";
    if (italic) given["font-style"] = "italic";
    const made = add(svg, "text", given, text);
    made.setAttribute("pointer-events", "none");
    if (size) made.setAttribute("data-size", size);
  }

  const root = document.documentElement;
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  /** Have a button switch between light and dark; returns what switches. */
  function themed(button) {
    const named = () => { button.textContent = isDark() ? "Light" : "Dark"; };
    const change = () => { root.dataset.theme = isDark() ? "light" : "dark"; named(); };
    button.addEventListener("click", change);
    named();
    return change;
  }
  const isTyping = (event) => event.ctrlKey || event.metaKey || event.altKey
    || (/^(input|select|textarea)$/i.test(event.target.tagName) && event.target.type !== "checkbox");

  return { $, read, add, hueOf, cut, unpacked, boxesAt, boxesOf, drawPage, themed, isTyping };
})();
