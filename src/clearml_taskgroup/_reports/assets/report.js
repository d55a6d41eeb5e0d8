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

const filter = document.getElementById("filter");
if (filter) {
  const rows = Array.from(document.querySelectorAll("#tasks tbody tr"));
  const heads = Array.from(document.querySelectorAll("#tasks thead th"), (head) => head.textContent);
  const texts = rows.map((row) => Array.from(row.cells, (cell, at) => {
    const text = cell.textContent;
    return `${text} ${heads[at]}=${text}`;
  }).join(" ").toLowerCase());
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, at) => {
      row.hidden = !words.every((word) => texts[at].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    document.getElementById("shown").textContent = `${shown} of ${rows.length} tasks`;
  });
}

// A link to a task opens its details.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", openTarget);
openTarget();

// --- figures

const plots = document.getElementById("plots");
if (plots) {
  const script = document.createElement("script");
  script.textContent = decompressed("plotly-js");
  document.head.append(script);
  const figures = JSON.parse(decompressed("figure-data"));
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };
  const buttons = Array.from(document.querySelectorAll(".tabs button"));
  const show = (at) => {
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(place === at)));
    for (const old of Array.from(plots.children)) { Plotly.purge(old); old.remove(); }
    for (const figure of figures[at]) {
      const plot = document.createElement("div");
      plot.className = figure.wide ? "plot wide" : "plot";
      plots.append(plot);
      Plotly.newPlot(plot, figure.data, figure.layout, config);
    }
  };
  buttons.forEach((button, at) => button.addEventListener("click", () => show(at)));
  show(0);
  // Paper is narrower than the screen, and figures do not adapt to it by themselves.
  const onPaper = { autosize: false, width: 960, height: 330 };
  const onScreen = { autosize: true, width: null, height: null };
  const redraw = (size) => { for (const plot of plots.children) Plotly.relayout(plot, size); };
  addEventListener("beforeprint", () => redraw(onPaper));
  addEventListener("afterprint", () => redraw(onScreen));
}
