(() => {
  const { $, read, add, cut, unpacked, boxesOf, drawPage, themed, isTyping } = drawing;
  const theme = themed($("theme"));
  const closed = [];
  addEventListener("beforeprint", () => { for (const each of document.querySelectorAll("main details:not([open])")) { closed.push(each); each.open = true; } });
  addEventListener("afterprint", () => { for (const each of closed.splice(0)) each.open = false; });
  if ($("copy")) $("copy").addEventListener("click", () => {
    getSelection().selectAllChildren($("command"));
    try { document.execCommand("copy"); $("copy").textContent = "Copied"; } catch { /* it is selected at least */ }
  });
  document.addEventListener("keydown", (event) => { if (!isTyping(event) && event.key === "d") { event.preventDefault(); theme(); } });
  if ($("list")) requestAnimationFrame(() => setTimeout(browse)); // what comes first is painted first

  function browse() {
    const ROW = 52, MOST_LISTED = 200, MOST_PRINTED = 100, MOST_NAMED = 2000;
    const index = read("errors"), list = $("list"), article = $("mistake");
    const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]/g;
    /** Text with what would move or reorder it as signs, one for each. */
    const visible = (text) => text.replace(CONTROLS, (found) => (found < " " ? String.fromCharCode(0x2400 + found.charCodeAt(0)) : "\u2423"));
    const keys = new Map(); // of texts that are the same
    const numberOf = (name) => { if (!keys.has(name)) keys.set(name, keys.size); return keys.get(name); };
    const mistakes = read("mistakes").map(([kind, doc, gold, predicted, score, unit, start, text, goldAt, predictedAt, goldNear, predictedNear, note, pages], i) => {
      const own = cut(goldAt.length ? goldAt : predictedAt, 2).map(([a, b]) => text.slice(a, b)).join(" … ");
      const name = own.replace(/\s+/g, " ").trim();
      const m = { i, kind, doc, gold, predicted, score, unit, start, text, goldAt, predictedAt, goldNear, predictedNear, note, pages, name, lower: null };
      m.m = m; // it is an item of the list as it is
      m.key = numberOf(name ? name.toLowerCase() : `\0${i}`);
      return m;
    });
    const label = (i) => (i < 0 ? "" : index.labels[i]);
    const names = index.labels.map(visible), documents = index.documents.map(visible); // as they are shown
    $("list").parentElement.classList.toggle("few", mistakes.length < 8);
    const kindOf = (m) => index.kinds[m.kind];
    const state = { gold: null, predicted: null, items: [], found: [], groups: [], members: [], opened: new Set(), at: -1, chosen: null };
    const orders = {
      surest: [`${index.order}, high to low`, null],
      least: [`${index.order}, low to high`, (a, b) => (a.score ?? 2) - (b.score ?? 2) || a.i - b.i],
      place: ["document and place", (a, b) => a.doc - b.doc || a.start - b.start || a.i - b.i],
      often: ["most frequent text first", null],
    };

    // Filters ---------------------------------------------------------------------------------------------------------

    const tally = (key) => { const counts = new Map(); for (const m of mistakes) for (const k of key(m)) counts.set(k, (counts.get(k) || 0) + 1); return counts; };
    const kinds = tally((m) => [m.kind]), labels = tally((m) => new Set([m.gold, m.predicted].filter((l) => l >= 0)));
    index.kinds.forEach((name, i) => kinds.has(i) && add($("kind"), "option", { value: name }, `${name} (${kinds.get(i)})`));
    [...labels].sort((a, b) => b[1] - a[1]).forEach(([l, n]) => add($("label"), "option", { value: label(l) }, `${names[l]} (${n})`));
    index.documents.slice(0, MOST_NAMED).forEach((name) => add($("names"), "option", { value: name }));
    for (const [value, [name]] of Object.entries(orders)) add($("order"), "option", { value }, name);
    const fields = ["kind", "label", "document", "least", "most", "text", "order"];
    for (const id of fields) $(id).addEventListener("input", () => apply());
    $("grouped").addEventListener("change", () => apply());
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("reset", (event) => { event.preventDefault(); clear(); apply(); });
    $("chip").addEventListener("click", () => { state.gold = state.predicted = null; apply(); });
    function clear() {
      for (const id of fields) $(id).value = id === "order" ? "surest" : "";
      state.gold = state.predicted = null;
    }
    function chosen() {
      const kind = index.kinds.indexOf($("kind").value), l = $("label").value === "" ? null : index.labels.indexOf($("label").value);
      const name = $("document").value, doc = index.documents.indexOf(name), part = name.toLowerCase();
      const least = $("least").value === "" ? null : Number($("least").value), most = $("most").value === "" ? null : Number($("most").value);
      const words = $("text").value.toLowerCase().trim();
      const pattern = /\s/.test(words) ? new RegExp(words.split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+")) : null;
      const says = (m) => {
        m.lower ??= `${m.text} ${m.note}`.toLowerCase();
        return pattern ? pattern.test(m.lower) : m.lower.includes(words);
      };
      const docs = name && doc < 0 ? index.documents.map((each) => each.toLowerCase().includes(part)) : null;
      return sorted($("order").value).filter((m) => (kind < 0 || m.kind === kind) && (l === null || m.gold === l || m.predicted === l)
        && (state.gold === null || label(m.gold) === state.gold) && (state.predicted === null || label(m.predicted) === state.predicted)
        && (!name || (docs ? docs[m.doc] : m.doc === doc)) && (least === null || (m.score !== null && m.score >= least))
        && (most === null || (m.score !== null && m.score <= most)) && (!words || says(m)));
    }

    const known = new Map(); // orders that were asked for
    function sorted(order) {
      if (!known.has(order)) known.set(order, orders[order][1] ? [...mistakes].sort(orders[order][1]) : mistakes);
      return known.get(order);
    }

    function apply() {
      state.found = chosen();
      state.members = new Array(keys.size);
      state.groups = [];
      for (const m of state.found) {
        const group = state.members[m.key];
        if (group) group.push(m); else state.groups.push((state.members[m.key] = [m]));
      }
      if ($("order").value === "often") state.groups.sort((a, b) => b.length - a.length);
      const many = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
      $("shown").textContent = `${state.found.length === mistakes.length ? "" : `${state.found.length.toLocaleString("en")} of `}${many(mistakes.length, "mistake")}, ${many(state.groups.length, "text")}`;
      $("chip").hidden = state.gold === null && state.predicted === null;
      $("chip").textContent = `${state.gold === null ? "" : `gold ${visible(state.gold)}`}${state.gold !== null && state.predicted !== null ? " → " : ""}${state.predicted === null ? "" : `predicted ${visible(state.predicted)}`} ✕`;
      scrollTo(0);
      arrange();
      choose(state.items.length ? 0 : -1, false);
    }

    /** Lay the items of the list out: groups, the members of those that are open, and single mistakes. */
    function arrange() {
      const grouped = $("grouped").checked, often = $("order").value === "often";
      if (!grouped) state.items = often ? state.groups.flat() : state.found;
      else {
        state.items = [];
        for (const members of state.groups) {
          const [m] = members, group = members.length > 1;
          state.items.push(group ? { m, key: m.key, members } : m);
          if (group && state.opened.has(m.key)) for (const m of members) state.items.push({ m, member: true });
        }
      }
      list.querySelector(".room")?.remove();
      add(list, "div", { class: "room", role: "presentation" }).style.height = `${state.items.length * ROW}px`;
      paint();
    }

    // The list: only what is seen is in the page -----------------------------------------------------------------------

    let waiting = 0, top = 0, height = list.clientHeight; // as the list has them: to ask it would lay the page out each time
    list.addEventListener("scroll", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => { top = list.scrollTop; paint(); }); });
    addEventListener("resize", () => { height = list.clientHeight; paint(); });
    function scrollTo(place) { if (place !== top) list.scrollTop = top = place; }
    function paint() {
      const first = Math.max(0, Math.floor(top / ROW) - 8), last = Math.min(state.items.length, first + Math.ceil(height / ROW) + 16);
      for (const row of list.querySelectorAll(".row")) row.remove();
      for (let i = first; i < last; i++) paintRow(i);
      if (!state.items.length) add(list, "p", { class: "row" }, "No mistake fits these filters.");
      list.setAttribute("aria-activedescendant", state.at >= first && state.at < last ? `row-${state.at}` : "");
    }
    function paintRow(i) {
      const { m, members, member, key } = state.items[i];
      const row = add(list, "div", { class: `row${member ? " member" : ""}`, role: "treeitem", id: `row-${i}`, "aria-level": member ? 2 : 1, "aria-selected": i === state.at, "aria-setsize": state.items.length, "aria-posinset": i + 1 });
      row.style.top = `${i * ROW}px`;
      row.place = i;
      if (members) { add(row, "span", { class: "times" }, `× ${members.length} ${state.opened.has(key) ? "▾" : "▸"}`); row.setAttribute("aria-expanded", state.opened.has(key)); }
      else if (m.score !== null) add(row, "span", { class: "times" }, m.score.toFixed(2));
      add(row, "span", { class: "what", dir: "auto" }, member ? documents[m.doc] : visible(m.name.slice(0, 200)) || "(no text)");
      const how = add(row, "span", { class: "how" });
      if (members) {
        const counts = new Map();
        for (const each of members) counts.set(kindOf(each), (counts.get(kindOf(each)) || 0) + 1);
        how.textContent = [...counts].map(([kind, n]) => `${n} ${kind}`).join(", ");
        return;
      }
      add(how, "span", {}, `${kindOf(m)} `);
      if (m.gold >= 0) add(how, "span", { class: "gold" }, names[m.gold]);
      if (m.gold >= 0 && m.predicted >= 0) add(how, "span", {}, " → ");
      if (m.predicted >= 0) add(how, "span", { class: "predicted" }, names[m.predicted]);
      if (!member) add(how, "span", {}, ` · ${documents[m.doc]}`);
    }
    list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (!row || row.place === undefined) return;
      if (state.items[row.place].members) toggle(row.place);
      choose(row.place);
      if (matchMedia("(max-width: 48rem)").matches && !state.items[row.place].members) article.scrollIntoView({ block: "start" });
    });
    function toggle(i, open) {
      const { key, members } = state.items[i] || {};
      if (!members || state.opened.has(key) === open) return false;
      state.opened[state.opened.has(key) ? "delete" : "add"](key);
      arrange();
      return true;
    }
    function choose(i, addressed = true) {
      state.at = Math.min(i, state.items.length - 1);
      const place = state.at * ROW;
      if (state.at >= 0 && place < top) scrollTo(place);
      else if (state.at >= 0 && place + ROW > top + height) scrollTo(place + ROW - height);
      paint();
      show(state.at < 0 ? null : state.items[state.at], addressed);
    }

    // One mistake -----------------------------------------------------------------------------------------------------

    let pending = 0, scrolled = false;
    article.addEventListener("scroll", () => { scrolled = true; }, { passive: true });
    function show(item, addressed) {
      article.replaceChildren();
      if (scrolled) article.scrollTop = 0;
      scrolled = false;
      const m = item && item.m;
      state.chosen = m;
      add(article, "h3", { id: "mistake-title", dir: "auto" }, m ? visible(m.name.length > 160 ? `${m.name.slice(0, 150)} …` : m.name) || "(no text)" : "No mistake fits these filters");
      if (!m) return;
      tell(article, m);
      const same = state.members[m.key];
      if (same.length > 1) {
        const all = add(article, "details"), places = add(all, "ol", { class: "places" });
        all.open = Boolean(item.members);
        all.prepend(document.createElement("summary"));
        all.firstChild.textContent = `The same text in ${same.length.toLocaleString("en")} places`;
        for (const each of same.slice(0, MOST_LISTED)) {
          const button = add(add(places, "li"), "button", { type: "button" }, `${documents[each.doc]}: ${kindOf(each)}${each.score === null ? "" : ` ${each.score.toFixed(2)}`}`);
          button.addEventListener("click", () => go(each));
        }
        if (same.length > MOST_LISTED) add(places, "li", {}, "… and more");
      }
      clearTimeout(pending);
      if (m.pages.length) pending = setTimeout(() => showPages(m), 120); // not of each that keys pass by
      else if (index.left_out) add(article, "p", { class: "muted" }, "There was no room for its page in this file; papermage-data view shows it.");
      if (addressed) address(m);
    }
    function tell(parent, m) {
      const facts = add(parent, "dl");
      const row = (name, value) => { const pair = add(facts, "div"); add(pair, "dt", {}, name); add(pair, "dd", {}, value).dir = "auto"; };
      row("kind", kindOf(m) + (m.gold >= 0 && m.predicted >= 0 && m.gold !== m.predicted ? `: ${names[m.gold]} → ${names[m.predicted]}` : ""));
      if (m.score !== null) row(index.order, `${m.score.toFixed(3)}${kindOf(m) === "missed" && index.order === "model's score" ? ", of what it said in its place" : ""}`);
      row("document", documents[m.doc]);
      row("place", `unit ${m.unit}, character ${m.start}`);
      if (m.note) add(parent, "p", { class: "note", dir: "auto" }, visible(m.note));
      const sides = add(parent, "div", { class: "sides" });
      drawSide(sides, m, "gold", m.gold, m.goldAt, m.goldNear);
      drawSide(sides, m, "predicted", m.predicted, m.predictedAt, m.predictedNear);
    }
    function drawSide(parent, m, side, own, at, near) {
      const box = add(parent, "div", { class: `side ${side}` });
      const entity = cut(m.goldAt.length ? m.goldAt : m.predictedAt, 2);
      const touches = ([a, b]) => entity.some(([c, d]) => a < d && c < b);
      const others = [...new Set(cut(near, 3).filter(touches).map(([, , l]) => names[l]))];
      add(box, "h4", {}, `${side}: ${own >= 0 ? names[own] : others.length ? `${others.join(", ")}, at another place that overlaps` : "nothing here"}`);
      const running = add(box, "p", { class: "running", dir: "auto" });
      const marks = [...cut(at, 2).map(([a, b]) => ({ a, b, l: own, own: true })), ...cut(near, 3).map(([a, b, l]) => ({ a, b, l, own: false, over: own < 0 && touches([a, b]) }))];
      const edges = [...new Set([0, m.text.length, ...marks.flatMap(({ a, b }) => [a, b])])].sort((one, other) => one - other);
      for (let i = 0; i + 1 < edges.length; i++) {
        const [a, b] = [edges[i], edges[i + 1]], over = marks.filter((mark) => mark.a <= a && b <= mark.b), mine = over.some((mark) => mark.own);
        add(running, mine ? "strong" : "span", over.length ? { class: mine ? "own" : over.some((mark) => mark.over) ? "near over" : "near", title: over.map((mark) => names[mark.l]).join(", ") } : {}, visible(m.text.slice(a, b)));
        for (const mark of over) if (mark.b === b) add(running, "span", { class: `name${mark.own ? " of-own" : ""}` }, names[mark.l]);
      }
    }

    // Pages of documents ------------------------------------------------------------------------------------------------

    const kept = new Map();
    async function pageOf(number) {
      if (!kept.has(number)) {
        const bytes = Uint8Array.from(atob(read(`page-${number}`)), (each) => each.charCodeAt(0));
        const [record, picture] = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
        kept.set(number, [unpacked(record), picture]);
        if (kept.size > 20) kept.delete(kept.keys().next().value);
      }
      return kept.get(number);
    }
    async function showPages(m) {
      const key = add(article, "p", { class: "key" });
      for (const [name, text] of [["gold", "gold"], ["predicted", "predicted"], ["right", "right: both"]]) add(key, "span", { class: name }, text);
      for (const [sign, by, name] of [["−", 1 / 1.25, "smaller"], ["+", 1.25, "larger"]]) add(key, "button", { type: "button", "aria-label": `page ${name}` }, sign).addEventListener("click", () => zoom(by));
      const frame = add(article, "div", { class: "frame", tabindex: 0, role: "group", "aria-label": "Its pages" });
      for (const number of m.pages) {
        const section = add(frame, "div", { class: "sheet page" });
        let sheet, picture;
        try { [sheet, picture] = await pageOf(number); } catch { section.remove(); add(frame, "p", {}, "This browser cannot unpack the page; a newer one can."); return; }
        if (state.chosen !== m) return;
        section.style.aspectRatio = `1 / ${sheet.ratio}`;
        const marks = sheet.entities.map((entity) => ({
          boxes: boxesOf(sheet, entity), out: entity.layer === "predicted" ? 3 : 0, tag: entity.id === m.i ? `${entity.layer} ${entity.label}` : "", below: entity.layer === "predicted",
          classes: `entity ${entity.layer}${entity.id === m.i ? " current" : ""}`, title: `${entity.layer}: ${entity.label}`, given: entity.id === null ? {} : { "data-mistake": entity.id },
          dress: (made) => made.classList.add(entity.layer),
        }));
        drawPage(section, sheet, picture, { share: index.share, fonts: index.fonts, marks });
        add(section, "span", { class: "number" }, `page ${sheet.page + 1}`);
        section.addEventListener("click", (event) => {
          const found = event.target.closest("[data-mistake]");
          if (found && Number(found.dataset.mistake) !== m.i) go(mistakes[Number(found.dataset.mistake)]);
        });
      }
      const current = frame.querySelector(".current");
      if (!current) return;
      const [place, around] = [current.getBoundingClientRect(), frame.getBoundingClientRect()];
      frame.scrollTop += place.top - around.top - frame.clientHeight / 3;
      frame.scrollLeft += place.left - around.left - frame.clientWidth / 3;
    }
    let size = 1;
    function zoom(by) { size = Math.min(5, Math.max(0.4, size * by)); document.documentElement.style.setProperty("--zoom", size.toFixed(3)); }

    // Addresses -------------------------------------------------------------------------------------------------------

    const places = new Map();
    for (const m of mistakes) places.set(`${m.doc} ${m.unit}`, (places.get(`${m.doc} ${m.unit}`) || 0) + 1);
    function address(m) {
      const place = new URLSearchParams({ doc: index.documents[m.doc], unit: m.unit });
      if (places.get(`${m.doc} ${m.unit}`) > 1) place.set("label", label(m.gold >= 0 ? m.gold : m.predicted));
      try { history.replaceState(null, "", `#${place}`); } catch { /* not where the page stands in a frame */ }
    }
    /** Show a mistake in the list as it is filtered; without filters where it is not in it. */
    function go(m) {
      if (!state.found.includes(m)) { clear(); apply(); }
      let i = state.items.findIndex((item) => item.m === m && !item.members);
      if (i < 0) { toggle(state.items.findIndex((item) => item.members && item.members.includes(m)), true); i = state.items.findIndex((item) => item.m === m && !item.members); }
      choose(i);
    }
    function follow(start) {
      const place = new URLSearchParams(location.hash.slice(1));
      if (place.has("doc")) {
        const fits = mistakes.filter((m) => index.documents[m.doc] === place.get("doc") && (!place.has("unit") || m.unit === Number(place.get("unit"))));
        const named = fits.filter((m) => label(m.gold >= 0 ? m.gold : m.predicted) === place.get("label"));
        const m = named[0] || fits[0];
        if (!m) return;
        go(m);
      } else if (["kind", "label", "gold", "predicted", "document", "text"].some((name) => place.has(name))) {
        clear();
        for (const id of ["kind", "label", "document", "text"]) $(id).value = place.get(id) || "";
        [state.gold, state.predicted] = [place.get("gold"), place.get("predicted")];
        apply();
      } else return;
      $("mistakes-section").scrollIntoView({ block: "start" });
      if (!start) list.focus({ preventScroll: true });
    }
    addEventListener("hashchange", () => follow(false));

    // Keys --------------------------------------------------------------------------------------------------------------

    const step = (by) => choose(Math.min(Math.max(state.at + by, 0), state.items.length - 1));
    const rows = () => Math.max(1, Math.floor(height / ROW) - 1);
    const close = () => { let i = state.at; while (i > 0 && state.items[i].member) i--; if (toggle(i, false)) choose(i); };
    const inList = { ArrowDown: () => step(1), ArrowUp: () => step(-1), PageDown: () => step(rows()), PageUp: () => step(-rows()), Home: () => choose(0), End: () => choose(state.items.length - 1),
      ArrowRight: () => toggle(state.at, true), ArrowLeft: close, Enter: () => { if (!toggle(state.at)) article.focus(); }, " ": () => toggle(state.at) };
    const everywhere = { j: () => step(1), k: () => step(-1), "/": () => { $("text").focus(); $("text").select(); }, b: () => article.classList.toggle("boxed"), "+": () => zoom(1.25), "-": () => zoom(1 / 1.25) };
    list.addEventListener("keydown", (event) => { const act = !event.ctrlKey && !event.metaKey && !event.altKey && inList[event.key]; if (act && state.items.length) { event.preventDefault(); act(); } });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && event.target.closest && event.target.closest("#filters, #mistake")) list.focus();
      if (!isTyping(event) && everywhere[event.key] && state.items.length) { event.preventDefault(); everywhere[event.key](); }
    });

    addEventListener("beforeprint", () => {
      const printed = $("printed");
      add(printed, "p", {}, `${$("shown").textContent}${state.found.length > MOST_PRINTED ? `; the first ${MOST_PRINTED}:` : ":"}`);
      for (const m of state.found.slice(0, MOST_PRINTED)) { const each = add(printed, "article"); add(each, "h3", { dir: "auto" }, visible(m.name.slice(0, 200)) || "(no text)"); tell(each, m); }
    });
    addEventListener("afterprint", () => $("printed").replaceChildren());

    apply();
    follow(true);
  }
})();
