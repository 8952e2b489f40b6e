"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const UNKNOWN = "not known";
const MARKS = { pass: "\u2713", questionable: "!", fail: "\u2715", none: "?" };
const main = $("main");
let index = { title: "Report", pages: [] };
let current = null; // The open page: content, arrays, figures, selected groups.

// ---------------------------------------------------------------- payloads

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function openPayload(id) {
  const bytes = fromBase64($(id).textContent);
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(await inflate(bytes.subarray(4, 4 + length))));
  return { content: header.content, arrays: header.arrays, data: bytes.subarray(4 + length), cache: new Map() };
}

async function decode(payload, described) {
  const planes = await inflate(payload.data.subarray(described.at, described.at + described.size));
  const width = Number(described.type.slice(1));
  const count = planes.length / width;
  if (described.type === "q2") {
    const values = new Float64Array(count);
    let code = 0;
    for (let k = 0; k < count; k++) {
      const stored = ((planes[count + k] << 8) | planes[k]) << 16 >> 16;
      code = described.delta ? (code + stored) << 16 >> 16 : stored;
      values[k] = code === -32768 ? NaN : described.offset + described.step * code;
    }
    return { values, shape: described.shape };
  }
  const bytes = new Uint8Array(planes.length);
  for (let k = 0; k < count; k++) for (let b = 0; b < width; b++) bytes[k * width + b] = planes[b * count + k];
  const values = new { i4: Int32Array, f4: Float32Array, f8: Float64Array }[described.type](bytes.buffer);
  return { values, shape: described.shape };
}

// Envelope: {levels: [low, high, mean] as rows of typed arrays, per, channels}; raster: rows; array: one typed array.
function fetchArray(payload, number) {
  if (!payload.cache.has(number)) {
    const described = payload.arrays[number];
    payload.cache.set(number, Promise.all(described.arrays.map((item) => decode(payload, item))).then((found) => {
      if (described.kind === "array") return found[0].values;
      if (described.kind === "points") return found.map(({ values }) => values);
      const rows = found.map(({ values, shape }) => {
        const width = shape[shape.length - 1];
        return Array.from({ length: values.length / width }, (_, k) => values.subarray(k * width, (k + 1) * width));
      });
      if (described.kind === "raster") return Object.assign(rows[0], { per: described.per, full: described.full });
      return { levels: rows, per: described.per, channels: described.channels };
    }));
  }
  return payload.cache.get(number);
}

async function revive(payload, value) {
  if (Array.isArray(value)) return Promise.all(value.map((item) => revive(payload, item)));
  if (value && typeof value === "object") {
    if ("$array" in value) {
      const found = await fetchArray(payload, value.$array);
      return "column" in value ? found[value.column] : found;
    }
    const entries = await Promise.all(Object.entries(value).map(async ([key, item]) => [key, await revive(payload, item)]));
    return Object.fromEntries(entries);
  }
  return value;
}

// ---------------------------------------------------------------- elements

// Text is only ever set as text, so that names from the data stay names.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function formatNumber(value) {
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(3);
  return String(Number(value.toPrecision(5)));
}

function makeBadge(verdict) {
  const known = verdict in MARKS && verdict !== "none" ? verdict : "none";
  const label = known === "none" ? verdict || UNKNOWN : verdict;
  return make("span", { class: `badge ${known}` }, make("span", { "aria-hidden": "true" }, MARKS[known]), label);
}

function makeCell(value) {
  if (value === null || value === undefined) return make("span", { class: "unknown" }, UNKNOWN);
  if (typeof value === "number") return document.createTextNode(formatNumber(value));
  if (typeof value === "boolean") return document.createTextNode(value ? "yes" : "no");
  if (typeof value === "object") {
    if (value.cell === "link") return make("a", { href: `#${encodeURIComponent(value.page)}` }, value.text);
    if (value.cell === "badge") return makeBadge(value.verdict);
    return document.createTextNode(JSON.stringify(value));
  }
  const text = String(value);
  return text.length > 300 ? make("div", { class: "long", tabindex: "0" }, text) : document.createTextNode(text);
}

const blocks = {
  text: (block) => make("div", {}, ...block.paragraphs.map((paragraph) => make("p", {}, paragraph))),
  note: (block) => make("p", { class: `note ${block.kind}`, role: "note" }, block.text),
  section(block, level) {
    const heading = make(`h${Math.min(level, 6)}`, { tabindex: "-1" }, block.title);
    const parts = block.blocks.map((inner) => render(inner, level + 1));
    return make("section", {}, heading, block.intro ? make("p", { class: "intro" }, block.intro) : null, ...parts);
  },
  columns: (block, level) => make("div", { class: "columns" }, ...block.blocks.map((inner) => render(inner, level))),
  details(block, level) {
    const element = make("details", {}, make("summary", {}, block.title));
    element.open = block.open;
    element.append(...block.blocks.map((inner) => render(inner, level)));
    return element;
  },
  facts(block) {
    const items = block.pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, makeCell(value))]);
    return make("dl", { class: "facts" }, ...items);
  },
  tiles: (block) => make("div", { class: "tiles" }, ...block.tiles.map(([name, value, meaning]) => make("div", { class: "tile" },
    make("div", { class: "name" }, name), make("div", { class: "value" }, makeCell(value)),
    make("div", { class: "meaning" }, meaning)))),
  tabs: makeTabs,
  table: makeTable,
  figure: (block) => makeFigure(block, drawFigure),
  curves: (block) => makeFigure(block, drawCurves),
};

function render(block, level = 2) {
  const build = Object.hasOwn(blocks, block.block) ? blocks[block.block] : null;
  return build ? build(block, level) : make("p", { class: "note bad" }, `unknown block ${block.block}`);
}

let serial = 0;

function makeTabs(block, level) {
  const list = make("div", { role: "tablist" });
  const panel = make("div", { role: "tabpanel" });
  const prefix = `tab-${serial++}`;
  panel.id = `${prefix}-panel`;
  const built = new Map();
  const choose = (k, focus) => {
    [...list.children].forEach((tab, j) => {
      tab.setAttribute("aria-selected", j === k);
      tab.tabIndex = j === k ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", `${prefix}-${k}`);
    if (!built.has(k)) built.set(k, block.tabs[k].blocks.map((inner) => render(inner, level)));
    panel.replaceChildren(...built.get(k));
    if (focus) list.children[k].focus();
    watchFigures();
  };
  block.tabs.forEach((tab, k) => {
    list.append(make("button", { role: "tab", type: "button", id: `${prefix}-${k}`, "aria-controls": panel.id,
      onclick: () => choose(k) }, tab.label));
  });
  list.addEventListener("keydown", (event) => {
    const now = [...list.children].indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && now >= 0) {
      choose((now + step + block.tabs.length) % block.tabs.length, true);
      event.stopPropagation();
    }
  });
  choose(0);
  return make("div", {}, list, panel);
}

function plainCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") return value.cell === "badge" ? value.verdict || UNKNOWN : String(value.text ?? "");
  return typeof value === "number" ? value : String(value);
}

function compareCells(a, b) {
  const [first, second] = [plainCell(a), plainCell(b)];
  if (first === "" || second === "") return (first === "") - (second === "");
  const numbers = [parseFloat(first), parseFloat(second)];
  if (numbers.every(Number.isFinite) && numbers[0] !== numbers[1]) return numbers[0] - numbers[1];
  return String(first).localeCompare(String(second));
}

function makeTable(block) {
  const state = { text: "", verdict: null, by: -1, down: false, all: !block.first };
  const isNumber = block.titles.map((_, k) => block.rows.length > 0 && block.rows.every((row) =>
    row[k] === null || typeof row[k] === "number" || /^-?[\d.]+( ± [\d.]+)?( %)?$/.test(String(row[k]))));
  const body = make("tbody");
  const count = make("span", { class: "count", role: "status" });
  const more = make("button", { class: "button", type: "button", onclick: () => { state.all = true; fill(); } });
  const titles = block.titles.map((title, k) => make("th", { scope: "col", class: isNumber[k] ? "number" : null },
    make("button", { type: "button", onclick: () => { state.down = state.by === k && !state.down; state.by = k; fill(); } }, title)));
  const verdictOf = (row) => row.find((cell) => cell && cell.cell === "badge")?.verdict ?? null;
  function fill() {
    let rows = block.rows.filter((row) => (state.verdict === null || verdictOf(row) === state.verdict)
      && (!state.text || row.some((cell) => String(plainCell(cell)).toLowerCase().includes(state.text))));
    if (state.by >= 0) {
      rows = [...rows].sort((a, b) => compareCells(a[state.by], b[state.by]) * (state.down ? -1 : 1));
      titles.forEach((title, k) => k === state.by
        ? title.setAttribute("aria-sort", state.down ? "descending" : "ascending") : title.removeAttribute("aria-sort"));
    }
    const shown = state.all ? rows : rows.slice(0, block.first);
    body.replaceChildren(...shown.map((row) => make("tr", {}, ...row.map((cell, k) =>
      make("td", { class: isNumber[k] ? "number" : null }, makeCell(cell))))));
    count.textContent = `${rows.length} of ${block.rows.length} rows`;
    more.hidden = shown.length === rows.length;
    more.textContent = `Show all ${rows.length} rows`;
  }
  fill();
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...titles)), body);
  const caption = block.caption ? make("p", { class: "caption" }, block.caption) : null;
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": block.caption || "table" }, table);
  return make("div", {}, caption, block.filters ? makeFilters(block, state, verdictOf, count, fill) : null, scroll, more);
}

function makeFilters(block, state, verdictOf, count, fill) {
  const search = make("input", { type: "search", placeholder: "Search", "aria-label": "Search in the table" });
  search.addEventListener("input", () => { state.text = search.value.trim().toLowerCase(); fill(); });
  const verdicts = ["fail", "questionable", "pass", ""].filter((verdict) => block.rows.some((row) => verdictOf(row) === verdict));
  const buttons = [null, ...verdicts].map((verdict) => {
    const number = verdict === null ? block.rows.length : block.rows.filter((row) => verdictOf(row) === verdict).length;
    const label = verdict === null ? "all" : verdict || UNKNOWN;
    return make("button", { class: "chip", type: "button", "aria-pressed": String(verdict === null), onclick: (event) => {
      state.verdict = verdict;
      buttons.forEach((button) => button.setAttribute("aria-pressed", String(button === event.currentTarget)));
      fill();
    } }, `${label} (${number})`);
  });
  return make("div", { class: "filters" }, search, ...(verdicts.length > 1 ? buttons : []), count);
}

// ---------------------------------------------------------------- figures

const palette = () => {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${/^\d+$/.test(name) ? "c" : ""}${name}`).trim();
};

const COLOURS = new Set(["color", "colors", "fillcolor", "bgcolor", "bordercolor", "gridcolor", "linecolor"]);

function dress(value, colour, key = "") {
  if (ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return COLOURS.has(key) || typeof value[0] === "object" ? value.map((item) => dress(item, colour, key)) : value;
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, dress(item, colour, name)]));
  }
  return COLOURS.has(key) && typeof value === "string" && value[0] === "@" ? colour(value.slice(1)) || value : value;
}

function merge(base, other) {
  const result = { ...base };
  for (const [key, value] of Object.entries(other)) {
    const both = value && typeof value === "object" && !Array.isArray(value) && base[key] && typeof base[key] === "object";
    result[key] = both ? merge(base[key], value) : value;
  }
  return result;
}

const isNarrow = () => window.innerWidth < 640;
const isCoarse = () => window.matchMedia("(pointer: coarse)").matches;

function styleAxis(colour) {
  return { gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("line"), automargin: true,
    ticks: "outside", tickcolor: colour("line"), ticklen: 4, title: { standoff: 8 }, exponentformat: "power" };
}

function styleLayout(layout, height) {
  const colour = palette();
  const base = {
    height, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: isNarrow() ? 11 : 12.5, color: colour("text") },
    margin: { l: isNarrow() ? 44 : 60, r: isNarrow() ? 8 : 16, t: 10, b: 44 }, hovermode: "closest", showlegend: false,
    hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line"), font: { color: colour("text") }, align: "left" },
    legend: { orientation: "h", y: -0.25, x: 0 }, dragmode: isCoarse() ? false : "zoom",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("accent") },
  };
  const result = merge(base, dress(layout, colour));
  const axes = new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))]);
  for (const name of axes) result[name] = merge(styleAxis(colour), result[name] || {});
  return result;
}

const CONFIG = () => ({ responsive: true, displaylogo: false, doubleClick: false, scrollZoom: false,
  displayModeBar: isCoarse() ? true : "hover",
  // Named one by one: among the usual ones are some that send the figure to a server.
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d"]],
  toImageButtonOptions: { scale: 2, filename: current ? `${index.title}_${current.content.id}`.replace(/\W+/g, "_") : "report" } });

let plotly = null;

// The library is inflated once, when the first figure is drawn; the policy allows it by its digest.
function loadPlotly() {
  plotly ??= inflate(fromBase64($("plotly").textContent)).then((bytes) => {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(bytes);
    document.head.append(script);
    $("plotly").textContent = "";
    return window.Plotly;
  });
  return plotly;
}

function makeFigure(block, draw) {
  const plot = make("div", { class: "plot", role: "img", "aria-label": [block.title, block.caption].filter(Boolean).join(". ") });
  plot.style.height = `${block.height}px`;
  const tools = make("div", { class: "tools" });
  const legend = make("ul", { class: "legend", hidden: "" });
  const element = make("figure", {}, make("div", { class: "head" }, block.title ? make("h3", {}, block.title) : null, tools),
    legend, plot, block.caption ? make("figcaption", {}, block.caption) : null);
  const figure = { block, plot, tools, legend, page: current, draw, drawn: false, state: { axis: 0, range: null, limits: {}, full: false } };
  plot.figure = figure;
  current.figures.push(figure);
  return element;
}

const observer = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (entry.isIntersecting) queue(entry.target.figure);
}), { rootMargin: "500px" });

const waiting = new Set();
let isDrawing = false;

async function queue(...figures) {
  figures.forEach((figure) => waiting.add(figure));
  if (isDrawing) return;
  isDrawing = true;
  while (waiting.size) {
    const [figure] = waiting;
    waiting.delete(figure);
    if (figure.page === current && figure.plot.isConnected) {
      try {
        await figure.draw(figure, await loadPlotly());
        figure.drawn = true;
        figure.plot.dataset.drawn = "yes";
      } catch (error) {
        figure.plot.replaceChildren(make("p", { class: "note bad" }, `This figure cannot be drawn: ${error}`));
        console.error(error);
      }
      await new Promise((done) => setTimeout(done, 0));
    }
  }
  isDrawing = false;
}

function watchFigures() {
  if (!current) return;
  current.figures.filter((figure) => figure.plot.isConnected && !figure.drawn).forEach((figure) => observer.observe(figure.plot));
}

function redrawAll() {
  if (current) queue(...current.figures.filter((figure) => figure.drawn && figure.plot.isConnected));
}

function centres(axis, count, per, full) {
  const step = full > 1 ? (axis.last - axis.first) / (full - 1) : 1;
  return Float64Array.from({ length: count }, (_, k) => axis.first + step * ((k + 0.5) * per - 0.5));
}

async function drawFigure(figure, Plotly) {
  const { block, plot, page } = figure;
  figure.traces ??= (await revive(page.payload, block.traces)).map((trace) => {
    if (trace.type !== "heatmap" || !trace.z?.full) return trace;
    const { z } = trace;
    const given = (axis, k, count) => axis && "first" in axis ? centres(axis, count, z.per[k], z.full[k]) : axis;
    return { ...trace, z: Array.from(z), x: given(trace.x, 1, z[0].length), y: given(trace.y, 0, z.length) };
  });
  const colour = palette();
  const height = isNarrow() ? Math.min(block.height, 360) : block.height;
  const traces = figure.traces.map((trace) => {
    const dressed = dress(trace, colour);
    if (dressed.colorbar || dressed.marker?.colorbar) {
      const bar = { thickness: isNarrow() ? 9 : 14, outlinewidth: 0, tickfont: { color: colour("text") } };
      if (dressed.colorbar) dressed.colorbar = { ...bar, ...dressed.colorbar };
      else dressed.marker = { ...dressed.marker, colorbar: { ...bar, ...dressed.marker.colorbar } };
    }
    return dressed;
  });
  plot.style.height = `${height}px`;
  await Plotly.react(plot, traces, styleLayout({ uirevision: "kept", ...(await revive(page.payload, block.layout)) }, height), CONFIG());
  if (!figure.bound) {
    figure.bound = true;
    plot.on("plotly_doubleclick", () => { const all = {}; for (const name of Object.keys(plot.layout)) if (/^[xy]axis\d*$/.test(name)) {
      const given = block.layout[name]?.range; all[given ? `${name}.range` : `${name}.autorange`] = given ? [...given] : block.layout[name]?.autorange ?? true; }
      Plotly.relayout(plot, all); });
    if (block.links) plot.on("plotly_click", (event) => {
      const target = event.points[0]?.[block.links];
      const page = Array.isArray(target) ? target[0] : target;
      if (page) location.hash = encodeURIComponent(page);
    });
  }
}

// ---------------------------------------------------------------- curves

const escapeMarkup = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function groupColour(colour, group) {
  const place = current.selected.indexOf(group);
  if (place < 0) return colour("muted");
  return place < 8 ? colour(String(place + 1)) : `hsl(${(place * 137.5) % 360} 55% 52%)`;
}

function abscissa(axis, envelope) {
  const count = envelope.levels[0][0].length, { per, channels } = envelope;
  const key = `${count}`;
  axis.cache ??= new Map();
  if (!axis.cache.has(key)) {
    axis.cache.set(key, Float64Array.from({ length: count }, (_, k) => {
      const middle = (k * per + Math.min((k + 1) * per, channels) - 1) / 2;
      if (!axis.values) return channels > 1 ? axis.first + (axis.last - axis.first) * middle / (channels - 1) : axis.first;
      const low = Math.floor(middle);
      return middle === low ? axis.values[low] : (axis.values[low] + axis.values[low + 1]) / 2;
    }));
  }
  return axis.cache.get(key);
}

// Bins in sight, merged until they are few enough for the screen; extremes stay extremes.
function cut(envelope, row, x, range, most) {
  const low = envelope.levels[0][row], high = (envelope.levels[1] || envelope.levels[0])[row];
  const mean = (envelope.levels[2] || (envelope.levels.length === 1 ? envelope.levels[0] : null))?.[row];
  let start = 0, end = x.length;
  if (range) {
    const [a, b] = range[0] < range[1] ? range : [range[1], range[0]];
    const ascends = x[0] < x[x.length - 1];
    const inside = (k) => x[k] >= a && x[k] <= b;
    start = x.findIndex((value) => ascends ? value >= a : value <= b);
    start = start < 0 ? 0 : Math.max(0, start - 1);
    end = start + 1;
    while (end < x.length && (inside(end) || inside(end - 1) || end === start + 1)) end++;
  }
  const step = Math.max(1, Math.ceil((end - start) / most));
  const result = { x: [], low: [], high: [], mean: mean ? [] : null, exact: envelope.levels.length === 1 && step === 1 };
  for (let k = start; k < end; k += step) {
    let least = Infinity, largest = -Infinity, sum = 0, count = 0;
    const last = Math.min(k + step, end);
    for (let j = k; j < last; j++) {
      if (low[j] < least) least = low[j];
      if (high[j] > largest) largest = high[j];
      if (mean && mean[j] === mean[j]) { sum += mean[j]; count++; }
    }
    result.x.push((x[k] + x[last - 1]) / 2);
    result.low.push(least <= largest ? least : null);
    result.high.push(least <= largest ? largest : null);
    if (mean) result.mean.push(count ? sum / count : null);
  }
  return result;
}

function fadedColour(text, share) {
  const probe = fadedColour.context ??= document.createElement("canvas").getContext("2d");
  probe.fillStyle = text;
  const hex = probe.fillStyle;
  const parts = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  return `rgba(${parts.join(",")},${share})`;
}

function traceCurve(curve, envelopes, x, figure, colour, most, axisName) {
  const envelope = envelopes[curve.values];
  const part = cut(envelope, curve.row, x(envelope), figure.state.range, most);
  const tone = curve.style === "model" ? colour("text") : curve.group ? groupColour(colour, curve.group)
    : curve.style === "faint" ? colour("muted") : colour("text");
  const name = escapeMarkup(curve.name);
  const common = { type: "scatter", mode: "lines", yaxis: axisName, name };
  const line = { ...common, x: part.x, y: part.mean || part.high, line: { color: tone, width: curve.style !== "line" ? 1.1 : curve.group ? 1.4 : 2 }, hovertemplate: `%{y:.5g}<extra>${name}</extra>`, connectgaps: false };
  const traces = [];
  if (curve.error !== null) {
    const error = cut(envelopes[curve.error], curve.row, x(envelopes[curve.error]), figure.state.range, most);
    traces.push(traceError(part, error, tone, common));
  }
  if (!part.exact) {
    const zx = [], zy = [];
    part.x.forEach((value, k) => {
      zx.push(value, value);
      zy.push(...(k % 2 ? [part.high[k], part.low[k]] : [part.low[k], part.high[k]]));
    });
    traces.push({ ...common, x: zx, y: zy, line: { color: fadedColour(tone, part.mean ? 0.3 : 0.85), width: 1 }, hoverinfo: "skip" });
    if (!part.mean) return { traces, part };
  }
  traces.push(line);
  return { traces, part };
}

function traceError(part, error, tone, common) {
  const xs = [], ys = [];
  const middle = part.mean || part.high, size = error.mean || error.high;
  let run = [];
  const close = () => {
    if (run.length > 1) {
      run.forEach((k) => { xs.push(part.x[k]); ys.push(middle[k] + size[k]); });
      [...run].reverse().forEach((k) => { xs.push(part.x[k]); ys.push(middle[k] - size[k]); });
      xs.push(null); ys.push(null);
    }
    run = [];
  };
  part.x.forEach((_, k) => { if (Number.isFinite(middle[k]) && middle[k] !== null && Number.isFinite(size[k]) && size[k] !== null) run.push(k); else close(); });
  close();
  return { ...common, x: xs, y: ys, fill: "toself", fillcolor: fadedColour(tone, 0.22), line: { width: 0 }, hoverinfo: "skip" };
}

const percentile = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];

// A spike would flatten all else: the axis shows most values, and a button all of them.
function judgeLimits(parts) {
  const all = [], values = [];
  for (const part of parts) {
    for (const some of [part.low, part.high]) for (const value of some) if (Number.isFinite(value) && value !== null) all.push(value);
    for (const value of part.mean || part.high) if (Number.isFinite(value) && value !== null) values.push(value);
  }
  if (!all.length) return { limits: null, beyond: 0 };
  all.sort((a, b) => a - b); values.sort((a, b) => a - b);
  const whole = all[all.length - 1] - all[0];
  const [low, high] = [percentile(all, 0.01), percentile(all, 0.99)];
  const pad = 0.6 * (high - low) || Math.abs(high) * 0.1 || 1;
  const limits = [low - pad, high + pad];
  const beyond = all.filter((value) => value < limits[0] || value > limits[1]).length;
  return whole > 3 * (limits[1] - limits[0]) && beyond ? { limits, beyond } : { limits: null, beyond: 0 };
}

async function drawCurves(figure, Plotly) {
  const { block, plot, page, state } = figure;
  figure.envelopes ??= await revive(page.payload, block.envelopes);
  figure.axes ??= await revive(page.payload, block.axes);
  const colour = palette(), axis = figure.axes[state.axis];
  const x = (envelope) => abscissa(axis, envelope);
  const shown = (curve) => curve.group === null || current.selected.includes(curve.group);
  const number = block.panels.reduce((sum, panel) => sum + panel.curves.filter(shown).length, 0);
  const most = Math.max(120, Math.min(plot.clientWidth || 900, Math.floor(40000 / Math.max(1, number))));
  const height = isNarrow() ? Math.max(240, Math.min(block.height, 420)) : block.height;
  const layout = { xaxis: { title: { text: escapeMarkup(axis.label) }, anchor: block.panels.length > 1 ? `y${block.panels.length}` : "y" }, uirevision: "kept" };
  const traces = [];
  let beyond = 0;
  const total = block.panels.reduce((sum, panel) => sum + panel.share, 0), gap = 0.05;
  let top = 1;
  block.panels.forEach((panel, k) => {
    const name = k ? `yaxis${k + 1}` : "yaxis";
    const parts = [];
    for (const curve of panel.curves.filter(shown)) {
      const made = traceCurve(curve, figure.envelopes, x, figure, colour, most, k ? `y${k + 1}` : "y");
      traces.push(...made.traces);
      parts.push(made.part);
    }
    const size = (1 - gap * (block.panels.length - 1)) * panel.share / total;
    layout[name] = { title: { text: escapeMarkup(panel.label) }, domain: [Math.max(0, top - size), top], zeroline: panel.zero, zerolinecolor: colour("muted") };
    top -= size + gap;
    const judged = judgeLimits(parts);
    beyond += judged.beyond;
    if (state.limits[name]) layout[name].range = state.limits[name];
    else if (judged.limits && !state.full) layout[name].range = judged.limits;
    else layout[name].autorange = true;
  });
  if (state.range) layout.xaxis.range = state.range;
  else { layout.xaxis.autorange = true; }
  plot.style.height = `${height}px`;
  const styled = styleLayout(layout, height);
  delete styled.uirevision;
  await Plotly.react(plot, traces, styled, CONFIG());
  fillTools(figure, beyond);
  fillLegend(figure, block.panels.flatMap((panel) => panel.curves.filter(shown)), colour);
  if (!figure.bound) bindZoom(figure);
}

function bindZoom(figure) {
  const { plot, state } = figure;
  figure.bound = true;
  plot.on("plotly_relayout", (event) => {
    let changed = false;
    for (const [key, value] of Object.entries(event)) {
      const match = key.match(/^([xy]axis\d*)\.(range\[0\]|range|autorange)$/);
      if (!match) continue;
      const [, name, what] = match;
      const range = what === "autorange" ? null : what === "range" ? value : [value, event[`${name}.range[1]`]];
      if (name === "xaxis") state.range = range;
      else if (range) state.limits[name] = range;
      else delete state.limits[name];
      changed = true;
    }
    if (changed) queue(figure);
  });
  plot.on("plotly_doubleclick", () => { state.range = null; state.limits = {}; queue(figure); });
}

function fillTools(figure, beyond) {
  const { tools, state } = figure;
  const chips = [];
  if (figure.axes.length > 1) {
    figure.axes.forEach((axis, k) => chips.push(make("button", { class: "chip", type: "button", "aria-pressed": String(k === state.axis),
      onclick: () => { state.axis = k; state.range = null; queue(figure); } }, axis.label)));
  }
  if (beyond || state.full) {
    chips.push(make("button", { class: "chip", type: "button", "aria-pressed": String(state.full), "data-range": "",
      onclick: () => { state.full = !state.full; state.limits = {}; queue(figure); } },
    state.full ? "Full range" : `Full range (${beyond} beyond)`));
  }
  tools.replaceChildren(...chips);
}

// Groups have their colours in the bar above; here stand curves of no group, and styles.
function fillLegend(figure, curves, colour) {
  const seen = new Map();
  for (const curve of curves) {
    if (curve.style === "model") seen.set("fitted or expected", colour("text"));
    else if (!curve.group) seen.set(curve.name, curve.style === "faint" ? colour("muted") : colour("text"));
  }
  figure.legend.replaceChildren(...[...seen].map(([name, tone]) => {
    const key = make("i");
    key.style.borderColor = tone;
    return make("li", {}, key, name);
  }));
  figure.legend.hidden = !seen.size;
}

// ---------------------------------------------------------------- groups

function showGroups() {
  const bar = $("groups"), { groups, groups_label: label } = current.content;
  bar.hidden = groups.length < 2;
  if (bar.hidden) return bar.replaceChildren();
  const chips = make("div", { class: "chips" });
  const count = make("span", { role: "status" });
  const paint = () => {
    const colour = palette();
    [...chips.children].forEach((chip, k) => {
      const isOn = current.selected.includes(groups[k]);
      chip.setAttribute("aria-pressed", String(isOn));
      chip.firstChild.style.background = isOn ? groupColour(colour, groups[k]) : "transparent";
      chip.firstChild.style.borderColor = isOn ? groupColour(colour, groups[k]) : "";
    });
    count.textContent = `${current.selected.length} of ${groups.length} ${label} shown`;
  };
  const choose = (selected) => { current.selected = selected; paint(); redrawAll(); };
  groups.forEach((group) => chips.append(make("button", { class: "chip", type: "button", onclick: () =>
    choose(current.selected.includes(group) ? current.selected.filter((other) => other !== group)
      : groups.filter((other) => other === group || current.selected.includes(other))) }, make("span", { class: "dot" }), group)));
  const button = (text, selected) => make("button", { class: "chip", type: "button", onclick: () => choose(selected()) }, text);
  const buttons = [button("first", () => [groups[0]]), button("all", () => [...groups]), button("none", () => [])];
  const row = make("div", { class: "row" }, count, ...buttons);
  if (groups.length > 12) {
    const fold = make("details", {}, make("summary", {}, `Choose ${label}`), chips);
    fold.style.margin = "0";
    row.append(fold);
  } else row.append(chips);
  bar.replaceChildren(row);
  current.paint = paint;
  return paint();
}

// ---------------------------------------------------------------- pages

function order() {
  return ["overview", ...index.pages.map((page) => page.id)];
}

function showPager(id) {
  const ids = order(), place = ids.indexOf(id);
  for (const [name, step] of [["previous", -1], ["next", 1]]) {
    const target = ids[place + step];
    $(name).setAttribute("href", `#${encodeURIComponent(target || id)}`);
    $(name).setAttribute("aria-disabled", String(!target));
  }
  $("pages").value = id;
  $("pages").hidden = $("previous").hidden = $("next").hidden = ids.length < 2;
}

let turn = 0;

async function open() {
  let wanted = "overview";
  try { wanted = decodeURIComponent(location.hash.slice(1)) || "overview"; } catch { /* A hash that is no text. */ }
  const mine = ++turn;
  const isThere = order().includes(wanted);
  const id = isThere ? wanted : "overview";
  current?.figures.forEach((figure) => { if (figure.drawn) window.Plotly?.purge(figure.plot); });
  const payload = await openPayload(`page-${id}`);
  if (mine !== turn) return;
  const { content } = payload;
  current = { content, payload, figures: [], selected: content.groups.filter((group) => content.shown.includes(group)) };
  const sections = content.blocks.filter((block) => block.block === "section");
  const title = make("div", { class: "title" }, make("h1", {}, content.title), id === "overview" || !content.judged ? null : makeBadge(content.verdict || ""));
  const parts = content.blocks.map((block) => render(block));
  const headings = parts.filter((part) => part.tagName === "SECTION").map((part) => part.firstChild);
  const contents = make("ul", { class: "contents", "aria-label": "On this page" }, ...headings.map((heading) => make("li", {},
    make("button", { type: "button", role: "link", onclick: () => { heading.scrollIntoView(); heading.focus({ preventScroll: true }); } }, heading.textContent))));
  main.replaceChildren(title, content.subtitle ? make("p", { class: "lead" }, content.subtitle) : "",
    sections.length > 2 ? contents : "", isThere ? "" : make("p", { class: "note warning" }, `This report has no page ${wanted}; this is the overview.`), ...parts);
  document.title = id === "overview" ? index.title : `${content.title} \u2013 ${index.title}`;
  showPager(id);
  showGroups();
  window.scrollTo(0, 0);
  if (mine > 1) main.focus({ preventScroll: true });
  watchFigures();
  main.dataset.page = id;
}

function fail(error) {
  console.error(error);
  main.replaceChildren(make("p", { class: "note bad", role: "alert" }, `This page cannot be shown: ${error}`));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  current?.paint?.();
  redrawAll();
}

const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

function bindKeys() {
  const toggle = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  $("theme").addEventListener("click", toggle);
  $("pages").addEventListener("change", (event) => { location.hash = encodeURIComponent(event.target.value); });
  $("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const act = { n: () => $("next").click(), p: () => $("previous").click(), o: () => { location.hash = "overview"; }, t: toggle }[event.key];
    if (act) act();
  });
  prefersDark.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
  let before = "light";
  window.addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme; setTheme("light"); });
  window.addEventListener("afterprint", () => setTheme(before));
}

async function start() {
  document.documentElement.dataset.theme = prefersDark.matches ? "dark" : "light";
  if (!("DecompressionStream" in window)) {
    throw new Error("this browser is too old; use Chrome 80, Firefox 113, Safari 16.4 or a later release");
  }
  index = (await openPayload("index")).content;
  $("brand").textContent = index.title;
  $("pages").append(make("option", { value: "overview" }, "Overview"), ...index.pages.map((page) =>
    make("option", { value: page.id }, page.judged ? `${MARKS[page.verdict] || MARKS.none} ${page.title}` : page.title)));
  bindKeys();
  window.addEventListener("hashchange", () => open().catch(fail));
  await open();
}

start().catch(fail);
})();
