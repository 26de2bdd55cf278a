(() => {
  const { $, read, add, hueOf, unpacked, boxesAt, boxesOf, drawPage: drawSheet, themed, isTyping } = drawing;
  const index = read("index"), SHARE = index.share, NEAR = "1500px 0px", MOST_LISTED = 1000, MOST_PRINTED = 300;
  const layers = new Map(index.layers.map((layer) => [layer.name, layer]));
  const labels = [...new Set(index.layers.flatMap((layer) => layer.labels.map(([label]) => label)))];
  const hues = new Map(labels.map((label, i) => [label, hueOf(i)]));
  const compares = index.layers.some((layer) => layer.compared);
  const paged = index.documents.some((doc) => doc.sheets.some((sheet) => sheet[1] !== null));
  const state = { pages: paged, zoom: 1, query: null, differing: false, least: 0, off: new Set() };
  const key = (layer, label) => JSON.stringify([layer, label]);
  for (const layer of index.layers) if (!layer.on) layer.labels.forEach(([label]) => state.off.add(key(layer.name, label)));

  const coloured = (element, label) => { element.classList.add("label"); element.style.setProperty("--hue", hues.get(label)); return element; };

  // Sheets ------------------------------------------------------------------------------------------------------------

  const kept = new Map(); // the sheets that were read last
  function sheetOf(d, s) {
    const name = `s${d}-${s}`, sheet = kept.get(name) || unpacked(read(name));
    kept.delete(name);
    kept.set(name, sheet);
    if (kept.size > 60) kept.delete(kept.keys().next().value);
    return sheet;
  }
  const isOn = (entity) => !state.off.has(key(entity.layer, entity.label)) && !(state.differing && entity.agrees !== false)
    && !(entity.score !== null && entity.score < state.least);
  const shown = (sheet) => sheet.entities.filter(isOn);

  /** The segments of an entity in the text: those of the tokens in its boxes, if it has boxes only. */
  function segmentsOf(sheet, entity) {
    if (entity.segments.length || !entity.boxes.length) return entity.segments;
    const inside = sheet.tokens.filter(([, , l, t, r, b]) => entity.boxes.some((box) =>
      box[0] <= (l + r) / 2 && (l + r) / 2 <= box[2] && box[1] <= (t + b) / 2 && (t + b) / 2 <= box[3]));
    return inside.map(([start, stop]) => [start, stop]);
  }
  const textOf = (sheet, entity) => segmentsOf(sheet, entity).map(([a, b]) => sheet.text.slice(a, b)).join(" ").replace(/\s+/g, " ");
  const said = (entity) => `${entity.label}${entity.score === null ? "" : ` ${entity.score.toFixed(2)}`}`
    + `${entity.layer === entity.label ? "" : ` (${entity.layer})`}${entity.agrees === false ? ", differs" : ""}`;
  const hitsIn = (sheet) => (state.query ? [...sheet.text.matchAll(state.query)].map((m) => [m.index, m.index + m[0].length]) : []);

  // Drawing -----------------------------------------------------------------------------------------------------------

  function draw(section) {
    if (section.drawn) return;
    section.drawn = true;
    const [d, s] = section.place, sheet = sheetOf(d, s);
    if (state.pages && sheet.page !== null) drawPage(section, sheet, read(`p${d}-${s}`));
    else drawText(section, sheet);
    if (sheet.page !== null) add(section, "span", { class: "number" }, `page ${sheet.page + 1}`);
    if (current && current.d === d && current.s === s) mark(section);
  }
  function clear(section) {
    if (!section.drawn) return;
    if (!section.classList.contains("page")) section.style.minHeight = `${section.offsetHeight}px`;
    section.drawn = false;
    section.replaceChildren();
  }

  function drawPage(section, sheet, picture) {
    const marks = shown(sheet).map((entity) => {
      const compared = layers.get(entity.layer).compared;
      return {
        boxes: boxesOf(sheet, entity), classes: `entity${compared ? " compared" : ""}${entity.agrees === false ? " differs" : ""}`, out: compared ? 2 : 0,
        tag: entity.label, title: `${said(entity)}: ${textOf(sheet, entity).slice(0, 200)}`, given: { "data-entities": entity.i }, dress: (made) => coloured(made, entity.label),
      };
    });
    const rect = drawSheet(section, sheet, picture, { share: SHARE, fonts: index.fonts, marks });
    for (const hit of hitsIn(sheet)) for (const box of boxesAt(sheet, [hit])) rect(box, { class: "hit", "data-hit": hit[0] });
  }

  function drawText(section, sheet) {
    const running = add(section, "div", { class: "running", dir: "auto" }), edges = new Set([0, sheet.text.length]);
    const marks = shown(sheet).flatMap((entity) => segmentsOf(sheet, entity).filter(([a, b]) => a < b).map(([a, b]) => ({ a, b, entity })));
    const hits = hitsIn(sheet);
    for (const { a, b } of marks) edges.add(a).add(b);
    for (const [a, b] of hits) edges.add(a).add(b);
    const cuts = [...edges].sort((one, other) => one - other);
    marks.sort((one, other) => one.a - other.a || other.b - one.b);
    let active = [], next = 0, hit = 0;
    for (let i = 0; i + 1 < cuts.length; i++) {
      const [a, b] = [cuts[i], cuts[i + 1]];
      active = active.filter((each) => each.b > a);
      while (next < marks.length && marks[next].a <= a) active.push(marks[next++]);
      while (hit < hits.length && hits[hit][1] <= a) hit++;
      const inHit = hit < hits.length && hits[hit][0] <= a;
      const piece = add(running, inHit ? "mark" : "span", inHit ? { "data-hit": hits[hit][0] } : {}, sheet.text.slice(a, b));
      if (active.length) dress(piece, active.map((each) => each.entity));
      for (const { entity } of active.filter((each) => each.b === b && !(layers.get(each.entity.layer).compared && each.entity.agrees)).reverse()) {
        const name = coloured(add(running, "span", { class: "name", "aria-hidden": "true" }), entity.label);
        name.textContent = `${layers.get(entity.layer).compared ? "▸" : ""}${entity.label}`;
      }
    }
  }

  function dress(piece, entities) {
    const of = (compared) => entities.filter((entity) => layers.get(entity.layer).compared === compared);
    const [gold, predicted] = [of(false), of(true)];
    piece.classList.add("entity");
    piece.dataset.entities = entities.map((entity) => entity.i).reverse().join(" ");
    piece.title = entities.map(said).join("\n");
    coloured(piece, (gold[gold.length - 1] || predicted[predicted.length - 1]).label);
    if (gold.length) piece.classList.add("gold");
    if (predicted.length) {
      piece.classList.add("compared");
      piece.style.setProperty("--under", `hsl(${hues.get(predicted[predicted.length - 1].label)} 70% 50%)`);
    }
    if (entities.some((entity) => entity.agrees === false)) piece.classList.add("differs");
    const outer = gold.slice(0, -1).map((entity, i) => `inset 0 -${2 * i + 2}px 0 hsl(${hues.get(entity.label)} 65% 50%)`);
    if (outer.length) piece.style.boxShadow = outer.join(", ");
  }

  // Documents: an empty section for each, filled with those of its sheets when it is near, and these drawn when they are --

  const main = $("documents");
  const near = new IntersectionObserver((seen) => seen.forEach(({ target, isIntersecting }) => (isIntersecting ? draw : clear)(target)), { root: main, rootMargin: NEAR });
  const close = new IntersectionObserver((seen) => seen.forEach(({ target, isIntersecting }) => isIntersecting && open(target)), { root: main, rootMargin: NEAR });
  const nameOf = (d) => index.documents[d].id ?? `document ${d}`;
  const sections = index.documents.map((doc, d) => {
    const section = add(main, "section", { class: "document" });
    add(section, "h2", {}, `${nameOf(d)}`);
    section.number = d;
    return section;
  });
  const isPage = (d, s) => state.pages && index.documents[d].sheets[s][1] !== null;
  const room = ([characters]) => `${Math.max(3, Math.ceil(characters / 85) * 1.9)}rem`;
  function lay(sheet, [d, s]) {
    const size = index.documents[d].sheets[s], page = isPage(d, s);
    sheet.className = `sheet ${page ? "page" : "stretch"}`;
    sheet.style.aspectRatio = page ? `1 / ${size[2]}` : "";
    sheet.style.minHeight = page ? "" : room(size);
  }
  function open(section) {
    if (section.sheets) return section.sheets;
    close.unobserve(section);
    section.style.minHeight = "";
    section.sheets = index.documents[section.number].sheets.map((_, s) => {
      const sheet = add(section, "div");
      sheet.place = [section.number, s];
      lay(sheet, sheet.place);
      near.observe(sheet);
      return sheet;
    });
    return section.sheets;
  }
  sections.forEach((section, d) => {
    const all = index.documents[d].sheets;
    section.style.minHeight = state.pages && all.some((sheet) => sheet[1] !== null) ? `${all.length * 60}rem` : room([all.reduce((sum, sheet) => sum + sheet[0], 0)]);
    close.observe(section);
  });
  function redraw(laid = false) {
    const at = place();
    for (const section of sections) {
      for (const sheet of section.sheets || []) {
        const drawn = sheet.drawn;
        clear(sheet);
        if (laid) lay(sheet, sheet.place);
        if (drawn) draw(sheet);
      }
    }
    if (laid) show(...at);
    if ($("list").open) list();
  }
  /** The document and sheet that are seen. */
  function place() {
    const top = main.getBoundingClientRect().top + 80, under = (element) => element.getBoundingClientRect().bottom > top;
    const d = Math.max(sections.findIndex(under), 0);
    return [d, Math.max((sections[d].sheets || []).findIndex(under), 0)];
  }
  function show(d, s, block = "start") {
    const sheets = open(sections[d]);
    if (!sheets.length) return sections[d].scrollIntoView();
    const target = s === 0 && block === "start" ? sections[d] : sheets[s];
    target.scrollIntoView({ block });
    draw(sheets[s]);
    target.scrollIntoView({ block }); // what is drawn now may be higher than the room left for it
    return sheets[s];
  }

  /** Draw at once what is seen first: observers report a little later. */
  function fill() {
    const bottom = main.getBoundingClientRect().bottom;
    for (const section of sections) {
      if (section.getBoundingClientRect().top > bottom) return;
      for (const sheet of open(section)) if (sheet.getBoundingClientRect().top <= bottom) draw(sheet);
    }
  }

  // Going from one to the next ----------------------------------------------------------------------------------------

  let current = null;
  function mark(section) {
    for (const each of main.querySelectorAll(".current")) each.classList.remove("current");
    const name = current.hit === undefined ? `[data-entities~="${current.entity}"]` : `[data-hit="${current.hit}"]`;
    const found = section.querySelectorAll(name);
    found.forEach((each) => each.classList.add("current"));
    return found[0];
  }
  function go(d, s, target) {
    current = { d, s, ...target };
    const section = show(d, s, "nearest");
    const found = mark(section);
    if (found) found.scrollIntoView({ block: "center", inline: "nearest" });
    if (target.entity !== undefined) tell(d, s, sheetOf(d, s).entities[target.entity]);
    $("document").value = d;
    address(d, s, target.entity === undefined ? null : target.entity);
  }
  function targets(d, s) {
    const sheet = sheetOf(d, s);
    if (state.query) return hitsIn(sheet).map(([hit]) => ({ at: hit, hit }));
    return listed(sheet);
  }
  function step(forward) {
    const all = index.documents.flatMap((doc, d) => doc.sheets.map((_, s) => [d, s]));
    const [d, s] = current ? [current.d, current.s] : place();
    const from = all.findIndex(([a, b]) => a === d && b === s);
    for (let i = 0; i <= all.length; i++) {
      const [a, b] = all[(from + (forward ? i : -i) + all.length * 2) % all.length];
      let found = targets(a, b);
      if (i === 0 && current) {
        const now = found.findIndex((each) => (current.hit === undefined ? each.entity === current.entity : each.hit === current.hit));
        found = now < 0 ? found : forward ? found.slice(now + 1) : found.slice(0, now);
      }
      if (found.length) { const { at, ...target } = found[forward ? 0 : found.length - 1]; return go(a, b, target); }
    }
  }
  function address(d, s, entity) {
    const doc = index.documents[d], place = new URLSearchParams({ doc: doc.id ?? d, sheet: s });
    if (entity !== null) place.set("entity", entity);
    try { history.replaceState(null, "", `#${place}`); } catch { /* not where the page stands in a frame */ }
  }
  function follow() {
    const place = new URLSearchParams(location.hash.slice(1)), id = place.get("doc");
    if (id === null) return;
    let d = index.documents.findIndex((doc) => doc.id === id);
    if (d < 0) d = Number(id);
    if (!index.documents[d]) return;
    const s = Math.min(Number(place.get("sheet")) || 0, index.documents[d].sheets.length - 1);
    if (place.has("entity") && sheetOf(d, s).entities[place.get("entity")]) go(d, s, { entity: Number(place.get("entity")) });
    else show(d, s);
  }
  function tell(d, s, entity) {
    const sheet = sheetOf(d, s);
    $("chosen").replaceChildren();
    row([["label", entity.label], ["layer", entity.layer], ["text", textOf(sheet, entity)], ["score", entity.score && Number(entity.score.toFixed(4))],
      ["compared", entity.agrees === null ? null : entity.agrees ? "the same on both sides" : "only on this side"],
      ["document", nameOf(d)], ["page", sheet.page === null ? null : sheet.page + 1], ["number", entity.id], ["metadata", entity.more && JSON.stringify(entity.more)]]);
  }
  /** Say what stands on a page where somebody clicks, and in which font. */
  function tellToken(sheet, { left, top, width, height }, { clientX, clientY }) {
    const x = ((clientX - left) / width) * SHARE, y = ((clientY - top) / height) * SHARE;
    const found = sheet.tokens.find(([, , l, t, r, b]) => l <= x && x <= r && t <= y && y <= b);
    if (!found) return;
    const [name, size, ...kinds] = index.fonts[found[6]], styles = ["bold", "italic", "invisible"].filter((_, i) => kinds[i]);
    row([["token", sheet.text.slice(found[0], found[1])], ["font", name], ["size", size], ["style", styles.join(", ") || null],
      ["box", found.slice(2, 6).map((edge) => (edge / SHARE).toFixed(3)).join(" ")]]);
  }
  function row(rows) {
    const said = $("chosen").querySelector("dl") || add($("chosen"), "dl");
    for (const [name, value] of rows) if (value !== null && value !== undefined) { add(said, "dt", {}, name); add(said, "dd", {}, String(value)); }
  }

  // The panel ---------------------------------------------------------------------------------------------------------

  for (const layer of index.layers) {
    const field = add($("legend"), "fieldset"), whole = add(add(field, "legend"), "label"), keys = layer.labels.map(([label]) => key(layer.name, label));
    const all = add(whole, "input", { type: "checkbox" });
    add(whole, "span", {}, `${layer.name}${layer.compared ? " (compared)" : ""}`);
    add(whole, "span", { class: "count" }, layer.labels.reduce((sum, [, count]) => sum + count, 0));
    all.checked = layer.on;
    const own = layer.labels.length === 1 && layer.labels[0][0] === layer.name;
    const boxes = [];
    const part = own ? null : add(field, "div", { class: "labels" });
    layer.labels.forEach(([label, count], i) => {
      const row = own ? whole : add(part, "label");
      const box = own ? all : add(row, "input", { type: "checkbox" });
      const swatch = document.createElement("span");
      swatch.className = `swatch${layer.compared ? " compared" : ""}`;
      box.after(coloured(swatch, label));
      if (own) return;
      add(row, "span", {}, label);
      add(row, "span", { class: "count" }, count);
      box.checked = layer.on;
      boxes.push(box);
      box.addEventListener("change", () => { state.off[box.checked ? "delete" : "add"](keys[i]); all.checked = boxes.some((each) => each.checked); redraw(); });
    });
    all.addEventListener("change", () => { keys.forEach((each) => state.off[all.checked ? "delete" : "add"](each)); boxes.forEach((box) => { box.checked = all.checked; }); redraw(); });
  }
  const tools = add($("legend"), "div", { class: "tools" });
  if (compares) {
    const line = add(tools, "label"), box = add(line, "input", { type: "checkbox", id: "differing" });
    add(line, "span", {}, "only where they differ");
    box.addEventListener("change", () => { state.differing = box.checked; redraw(); });
  }
  if (index.scored) {
    const line = add(tools, "label");
    add(line, "span", {}, "score at least");
    const least = add(line, "input", { type: "range", min: 0, max: 1, step: 0.05, value: 0, id: "least" }), value = add(line, "output", {}, "0");
    least.addEventListener("input", () => { state.least = Number(least.value); value.textContent = least.value; redraw(); });
  }

  function list() {
    const d = Number($("document").value), rows = $("entities");
    rows.replaceChildren();
    let count = 0;
    index.documents[d].sheets.forEach((_, s) => {
      const sheet = sheetOf(d, s);
      for (const { entity: i } of count < MOST_LISTED ? listed(sheet) : []) {
        const entity = sheet.entities[i], button = add(add(rows, "li"), "button");
        coloured(add(button, "span", { class: "name" }, `${said(entity)} `), entity.label);
        add(button, "span", {}, textOf(sheet, entity).slice(0, 120));
        button.addEventListener("click", () => go(d, s, { entity: i }));
        count++;
      }
    });
    if (!count) add(rows, "li", {}, "none");
    if (count >= MOST_LISTED) add(rows, "li", {}, "… and more");
  }
  function listed(sheet) {
    return shown(sheet).map((entity) => ({ at: (segmentsOf(sheet, entity)[0] || [Infinity])[0], entity: entity.i }))
      .sort((one, other) => one.at - other.at || one.entity - other.entity);
  }
  const about = () => { $("metadata").textContent = JSON.stringify(read(`m${$("document").value}`), null, 1); };
  $("list").addEventListener("toggle", () => $("list").open && list());
  $("about").addEventListener("toggle", () => $("about").open && about());

  // The bar, and keys ---------------------------------------------------------------------------------------------------

  index.documents.forEach((_, d) => add($("document"), "option", { value: d }, nameOf(d)));
  $("document").addEventListener("change", () => { const d = Number($("document").value); show(d, 0); address(d, 0, null); if ($("list").open) list(); if ($("about").open) about(); });
  let waiting = 0;
  main.addEventListener("scroll", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => { const [d] = place(); if (Number($("document").value) !== d) { $("document").value = d; if ($("list").open) list(); if ($("about").open) about(); } });
  });
  function search() {
    const text = $("query").value;
    state.query = text ? new RegExp(text.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&").replace(/\s+/g, "\\s+").replace(/\\-/g, "-"), "giu") : null;
    current = null;
    let count = 0;
    if (text) index.documents.forEach((doc, d) => doc.sheets.forEach((_, s) => { count += hitsIn(sheetOf(d, s)).length; }));
    $("found").textContent = text ? `${count} found` : "";
    redraw();
    if (count) step(true);
  }
  let typing = 0;
  $("query").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 200); });
  $("query").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); step(!event.shiftKey); } if (event.key === "Escape") main.focus(); });
  const size = (by) => { state.zoom = Math.min(4, Math.max(0.4, state.zoom * by)); const at = place(); document.documentElement.style.setProperty("--zoom", state.zoom.toFixed(3)); show(...at); };
  const mode = () => { if (!paged) return; state.pages = !state.pages; $("mode").textContent = state.pages ? "Text" : "Pages"; redraw(true); };
  const theme = themed($("theme"));
  const panel = (hidden = !$("side").hidden) => { $("side").hidden = hidden; $("panel").setAttribute("aria-expanded", String(!hidden)); };
  const turn = (by) => {
    const [d, s] = place(), count = index.documents[d].sheets.length;
    if (s + by >= 0 && s + by < count) show(d, s + by);
    else if (sections[d + by]) show(d + by, by > 0 ? 0 : index.documents[d + by].sheets.length - 1);
  };
  const actions = { n: () => step(true), p: () => step(false), j: () => turn(1), k: () => turn(-1), "/": () => $("query").focus(), t: mode,
    b: () => main.classList.toggle("boxed"), "+": () => size(1.2), "-": () => size(1 / 1.2), d: theme, l: () => panel() };
  document.addEventListener("keydown", (event) => {
    if (!isTyping(event) && actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });
  const buttons = { next: actions.n, previous: actions.p, mode, panel: actions.l, larger: actions["+"], smaller: actions["-"] };
  for (const [id, act] of Object.entries(buttons)) $(id).addEventListener("click", () => act());
  main.addEventListener("click", (event) => {
    const found = event.target.closest("[data-entities]"), sheet = event.target.closest(".sheet");
    if (found) go(...sheet.place, { entity: Number(found.dataset.entities.split(" ")[0]) });
    const svg = sheet && sheet.querySelector("svg");
    if (svg && !found) $("chosen").replaceChildren();
    if (svg) tellToken(sheetOf(...sheet.place), svg.getBoundingClientRect(), event);
  });
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => {
    let count = 0;
    for (const section of sections) for (const sheet of open(section)) if (count++ < MOST_PRINTED) draw(sheet);
  });
  if (!paged) $("mode").hidden = true;
  if (matchMedia("(max-width: 45rem)").matches) panel(true);
  fill();
  follow();
})();
