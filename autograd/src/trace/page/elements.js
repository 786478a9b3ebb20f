// Small helpers that make elements. Text is always text: nothing here reads HTML.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  set(made, attributes, children);
  return made;
}

// The name of SVG, which is no address that anything fetches.
const SVG = ["http", "//www.w3.org/2000/svg"].join(":");

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  set(made, attributes, children);
  return made;
}

function set(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(made.style, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

const by_id = (id) => document.getElementById(id);

// A table: heads are texts or {text, n}; cells are texts, numbers or elements.
function table(heads, rows, attributes = {}) {
  const head = (h) => element("th", { class: h.n && "n", scope: "col" }, h.text ?? h);
  const cell = (c) =>
    element(
      "td",
      { class: typeof c === "number" || (c && c.n) ? "n" : null },
      c && c.n !== undefined ? c.n : c instanceof Node ? c : c === null || c === undefined ? "" : String(c),
    );
  const body = rows.map((row) => element("tr", {}, row.map(cell)));
  return element(
    "div",
    { class: "scroll" },
    element("table", attributes, element("thead", {}, element("tr", {}, heads.map(head))), element("tbody", {}, body)),
  );
}

// A number in few digits, for people.
function short(x, digits = 4) {
  if (x === undefined || x === null) return "–";
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text =
    size >= 1e6 || size < 1e-3 ? Number(x.toPrecision(digits)).toExponential() : String(Number(x.toPrecision(digits)));
  return text.replace("e+", "e").replaceAll("-", "−");
}

// A number with every digit that it has: the fewest that give it back in its type.
function exact(x, dtype) {
  if (!Number.isFinite(x)) return short(x);
  const same = dtype === "f64" ? (y) => y === x : (y) => Math.fround(y) === Math.fround(x);
  for (let digits = 1; digits <= 17; digits++) {
    const text = x.toPrecision(digits);
    if (same(Number(text))) return String(Number(text)).replaceAll("-", "−");
  }
  return String(x).replaceAll("-", "−");
}

function in_bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) [n, unit] = [n / 1024, unit + 1];
  return `${unit ? n.toFixed(n < 10 ? 2 : 1) : n} ${units[unit]}`;
}

function in_time(ns) {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(2)} s`;
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(2)} ms`;
  if (ns >= 1e3) return `${(ns / 1e3).toFixed(1)} µs`;
  return `${ns} ns`;
}

const in_shape = (shape) => (shape.length ? `[${shape.join(", ")}]` : "scalar");
