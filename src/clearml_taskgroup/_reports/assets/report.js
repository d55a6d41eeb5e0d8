"use strict";

// Decompresses raw deflate (RFC 1951). The browser's DecompressionStream is asynchronous: a screenshot or a
// print of the page could lack its figures.
function inflate(bytes, size) {
  const out = new Uint8Array(size);
  let end = 0, from = 0, held = 0, have = 0;

  function need(count) {
    for (; have < count; have += 8) held |= (from < bytes.length ? bytes[from++] : (from++, 0)) << have;
  }
  function take(count) {
    need(count);
    const value = held & ((1 << count) - 1);
    held >>>= count;
    have -= count;
    return value;
  }
  function tree(lengths) {
    const counts = new Uint16Array(17), codes = new Uint16Array(17);
    let longest = 1;
    for (const length of lengths) if (length) { counts[length]++; longest = Math.max(longest, length); }
    for (let length = 1; length <= 15; length++) codes[length + 1] = (codes[length] + counts[length]) << 1;
    const entries = new Uint16Array(1 << longest);
    lengths.forEach((length, symbol) => {
      if (!length) return;
      let code = codes[length]++, mirrored = 0;
      for (let bit = 0; bit < length; bit++, code >>= 1) mirrored = (mirrored << 1) | (code & 1);
      for (; mirrored < entries.length; mirrored += 1 << length) entries[mirrored] = (symbol << 4) | length;
    });
    return { entries, longest };
  }
  function symbol(of) {
    need(of.longest);
    const entry = of.entries[held & ((1 << of.longest) - 1)];
    held >>>= entry & 15;
    have -= entry & 15;
    return entry >> 4;
  }
  function steps(start, count, group) {
    const bases = [], extras = [];
    for (let at = 0, base = start; at < count; at++) {
      extras.push(Math.max(0, Math.floor(at / group) - 1));
      bases.push(base);
      base += 1 << extras[at];
    }
    return { bases, extras };
  }
  const lengths = steps(3, 28, 4), distances = steps(1, 30, 2);
  lengths.bases.push(258);
  lengths.extras.push(0);
  const fixed = Array.from({ length: 288 }, (_, at) => (at < 144 ? 8 : at < 256 ? 9 : at < 280 ? 7 : 8));

  function trees() {
    const texts = take(5) + 257, backs = take(5) + 1, short = new Array(19).fill(0);
    const count = take(4) + 4;
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15].slice(0, count)
      .forEach((at) => { short[at] = take(3); });
    const coded = tree(short), all = [];
    while (all.length < texts + backs) {
      const code = symbol(coded);
      if (code < 16) { all.push(code); continue; }
      const again = code === 16 ? all[all.length - 1] : 0;
      for (let left = code === 16 ? take(2) + 3 : code === 17 ? take(3) + 3 : take(7) + 11; left; left--) {
        all.push(again);
      }
    }
    return [tree(all.slice(0, texts)), tree(all.slice(texts))];
  }
  for (let last = 0; !last;) {
    last = take(1);
    const kind = take(2);
    if (kind === 0) {
      take(have % 8);
      from -= have / 8;
      held = have = 0;
      const count = bytes[from] | (bytes[from + 1] << 8);
      out.set(bytes.subarray(from + 4, from + 4 + count), end);
      from += 4 + count;
      end += count;
      continue;
    }
    const [texts, backs] = kind === 1 ? [tree(fixed), tree(new Array(30).fill(5))] : trees();
    for (let code = symbol(texts); code !== 256; code = symbol(texts)) {
      if (code < 256) { out[end++] = code; continue; }
      const long = lengths.bases[code - 257] + take(lengths.extras[code - 257]);
      const back = symbol(backs);
      const behind = distances.bases[back] + take(distances.extras[back]);
      for (let left = long; left; left--, end++) out[end] = out[end - behind];
    }
  }
  return out;
}

function decompressed(id) {
  const element = document.getElementById(id);
  const packed = atob(element.textContent.trim());
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < packed.length; at++) bytes[at] = packed.charCodeAt(at);
  return new TextDecoder().decode(inflate(bytes, Number(element.dataset.size)));
}

// --- tables: numbers are sorted by size, then text; missing values are last in both orders

function valueOf(row, column) {
  const cell = row.cells[column];
  if (cell.classList.contains("none")) return null;
  return "n" in cell.dataset ? Number(cell.dataset.n) : cell.textContent.trim();
}
function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
  return one.localeCompare(other, undefined, { numeric: true, sensitivity: "base" });
}
function sortBy(table, column, sign) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, value: valueOf(row, column) }));
  rows.sort((one, other) => {
    if (one.value === null || other.value === null) return (one.value === null) - (other.value === null);
    return sign * compare(one.value, other.value);
  });
  body.append(...rows.map((entry) => entry.row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const first = head.dataset.first || "ascending";
      const now = head.getAttribute("aria-sort");
      const next = now === null ? first : now === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", next);
      sortBy(table, column, next === "ascending" ? 1 : -1);
    });
  });
}

const rows = Array.from(document.querySelectorAll("#tasks tbody tr"));
const shown = document.getElementById("shown");
const filter = document.getElementById("filter");
let texts;
function search() {
  // A line for each cell, `1 C=1`: a word with = must be all of its end, any other word a part.
  const heads = Array.from(document.querySelectorAll("#tasks thead th"), (head) => head.textContent);
  texts ??= rows.map((row) => Array.from(row.cells, (cell, at) => {
    const text = cell.textContent;
    return `${text} ${heads[at]}=${text}\n`;
  }).join("").toLowerCase());
  const words = filter.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const ends = words.map((word) => (word.includes("=") ? ` ${word}\n` : word));
  rows.forEach((row, at) => { row.hidden = !ends.every((end) => texts[at].includes(end)); });
  const left = rows.filter((row) => !row.hidden).length;
  shown.textContent = words.length ? `${left} of ${rows.length} tasks` : `${rows.length} tasks`;
}
filter.addEventListener("input", search);
shown.textContent = `${rows.length} tasks`;

// --- details: a link to a task shows them

const dialog = document.getElementById("details");
let details;
function element(name, ...inside) {
  const found = document.createElement(name);
  found.append(...inside);
  return found;
}
function short(value) {
  return value === null ? "–" : String(Number.isInteger(value) ? value : Number(value.toPrecision(5)));
}
function line(name, cells) {
  return element("tr", ...cells.map((cell) => element(name, cell)));
}
function showTask() {
  const anchor = location.hash.slice(1);
  if (!anchor.startsWith("task-")) return;
  details ??= JSON.parse(decompressed("task-data"));
  const task = details.tasks[anchor];
  if (!task) return;
  const facts = element("dl");
  const say = (name, what) => facts.append(element("dt", name), element("dd", what));
  for (const [name, text] of Object.entries(task.facts)) {
    if (name === "where" && task.page) {
      const link = element("a", text);
      Object.assign(link, { href: task.page, target: "_blank", rel: "noopener noreferrer" });
      say(name, link);
    } else say(name, text);
  }
  details.parameters.forEach((name, at) => {
    if (task.parameters[at] !== null) say(name, task.parameters[at]);
  });
  const head = ["metric", "first", "last", "min", "at", "max", "at", "mean", "values"];
  const values = task.values.map(([at, ...numbers]) => line("td", [details.metrics[at], ...numbers.map(short)]));
  const table = element("table", element("thead", line("th", head)), element("tbody", ...values));
  const scroll = element("div", table);
  scroll.className = "scroll";
  const name = element("h2", task.name);
  name.id = "details-name";
  const close = element("button", "Close");
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(close, name, facts, task.note || scroll);
  if (!dialog.open) dialog.showModal();
}
dialog.addEventListener("close", () => history.replaceState(null, "", "#"));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
addEventListener("hashchange", showTask);

// --- figures

// Texts that occur several times are stored once.
function withTexts(value, texts) {
  if (value === null || typeof value !== "object") return value;
  if ("$" in value) return texts[value.$];
  if (Array.isArray(value) && typeof value[0] === "number") return value;
  for (const name of Object.keys(value)) value[name] = withTexts(value[name], texts);
  return value;
}

// On a phone, legends and colour bars are below the plot, which keeps its height, and titles are wrapped.
const phone = matchMedia("(max-width: 600px)");
function wrapped(text, chars) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines[lines.length - 1] + (lines[lines.length - 1] && " ") + word;
    if (longer.length > chars && lines[lines.length - 1]) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}
function forPhone(figure) {
  const { data, layout } = structuredClone(figure);
  const [title, notes = ""] = layout.title.text.replace("</sub>", "").split("<br><sub>");
  const below = notes.split("<br>").filter(Boolean);
  const atBottom = { yref: "container", y: 0, yanchor: "bottom", orientation: "h" };
  let room = 0;
  if (layout.showlegend) {
    room = 12 + 19 * data.filter((trace) => trace.showlegend !== false && trace.name).length;
    layout.legend = { ...layout.legend, ...atBottom, x: 0, font: { size: 11 } };
  }
  for (const { colorbar } of data.flatMap((trace) => [trace, trace.marker || {}])) {
    if (!colorbar) continue;
    room = 44;
    below.push(`colour: ${colorbar.title.text.replace("<br>", ", ")}`);
    Object.assign(colorbar, atBottom, { thickness: 10, title: { text: "" } });
  }
  const above = wrapped(title, 42), small = below.flatMap((note) => wrapped(note, 60));
  layout.title.text = above.join("<br>") + (small.length ? `<br><sub>${small.join("<br>")}</sub>` : "");
  layout.title.font.size = 14;
  layout.margin.t = 34 + 18 * above.length + 15 * small.length;
  layout.margin.b += room;
  if (layout.yaxis.visible !== false) Object.assign(layout.margin, { l: 12, r: 12 });
  return { ...figure, data, layout, room };
}

const plots = document.getElementById("plots");
if (plots) {
  const script = document.createElement("script");
  script.nonce = document.currentScript.nonce;
  script.textContent = decompressed("plotly-js");
  document.head.append(script);
  const packed = JSON.parse(decompressed("figure-data"));
  const figures = withTexts(packed.figures, packed.texts);
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };
  const buttons = Array.from(document.querySelectorAll(".tabs button"));
  const show = (at) => {
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(place === at)));
    for (const old of plots.querySelectorAll(".plot")) Plotly.purge(old);
    plots.replaceChildren();
    for (const figure of figures[at].map((figure) => (phone.matches ? forPhone(figure) : figure))) {
      const frame = element("div"), plot = element("div");
      frame.className = figure.wide ? "frame wide" : "frame";
      plot.className = "plot";
      frame.append(plot);
      plots.append(frame);
      if (phone.matches && figure.min_width) plot.style.minWidth = `${figure.min_width}px`;
      if (figure.room) plot.style.height = `${plot.clientHeight + figure.room}px`;
      Plotly.newPlot(plot, figure.data, figure.layout, { ...config, displayModeBar: phone.matches ? false : "hover" });
    }
  };
  buttons.forEach((button, at) => button.addEventListener("click", () => show(at)));
  show(0);
  phone.addEventListener("change", () => {
    show(buttons.findIndex((button) => button.getAttribute("aria-pressed") === "true"));
  });
  // Paper is narrower than the screen, and figures do not adapt to it by themselves.
  const onPaper = { autosize: false, width: 960, height: 330 };
  const onScreen = { autosize: true, width: null, height: null };
  const redraw = (size) => { for (const plot of plots.querySelectorAll(".plot")) Plotly.relayout(plot, size); };
  addEventListener("beforeprint", () => redraw(onPaper));
  addEventListener("afterprint", () => redraw(onScreen));
}
showTask();
