// Pictures of tensors: one cell a number, blue above zero and orange below. A tensor of which only
// some rows are on the page shows these.

// The colours of the page, which follow the light or the dark scheme.
function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim().split(/\s+/).map(Number);
  return { plus: of("--plus"), zero: of("--zero"), minus: of("--minus"), lit: style.getPropertyValue("--lit").trim() };
}

function shade(x, largest, { plus, zero, minus }) {
  if (!Number.isFinite(x)) return [214, 16, 126];
  const share = largest > 0 ? Math.sqrt(Math.min(Math.abs(x) / largest, 1)) : 0;
  const end = x < 0 ? minus : plus;
  return zero.map((low, i) => Math.round(low + (end[i] - low) * share));
}

// Widths of cells in a picture that is about 560 pixels wide at most, but never narrower than a pixel.
const cell_size = (columns, rows) =>
  Math.max(1, Math.min(22, Math.floor(560 / columns), Math.max(2, Math.floor(280 / rows))));

// A picture of the tensor. `lit` are the places to be framed, `chosen` one of them; `choose` hears of
// a click and of arrow keys.
function heat_map(tensor, { lit = new Set(), chosen = null, choose = null, label = "" } = {}) {
  const rows = tensor.whole_rows();
  if (!rows.length || !tensor.width) return sample_of(tensor);
  const shown = rows.slice(0, 512);
  const height = tensor.height === 1 && tensor.width < 48 ? 22 : null;
  const size = cell_size(tensor.width, shown.length);
  const tall = height ?? Math.max(size, Math.min(14, Math.floor(220 / shown.length)));
  const canvas = element("canvas", {
    class: "heat",
    width: tensor.width * size,
    height: shown.length * tall,
    role: "img",
    "aria-label": label,
  });
  paint(canvas, tensor, shown, [size, tall], lit, chosen);
  if (choose) {
    canvas.setAttribute("tabindex", "0");
    canvas.setAttribute("aria-label", `${label}. Arrow keys choose an element.`);
    const pick = (event) => {
      const box = canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const column = Math.min(tensor.width - 1, Math.max(0, Math.floor((x / box.width) * tensor.width)));
      const row = Math.min(shown.length - 1, Math.max(0, Math.floor((y / box.height) * shown.length)));
      choose(shown[row][0] * tensor.width + column);
    };
    canvas.addEventListener("click", pick);
    canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && pick(event));
    canvas.addEventListener("keydown", (event) => move(event, tensor, shown, chosen, choose));
  }
  const notes = [];
  if (!tensor.whole) notes.push(`rows ${shown.map(([row]) => row).join(", ")} of ${tensor.height}`);
  else if (shown.length < rows.length) notes.push(`the first ${shown.length} of ${rows.length} rows`);
  return element(
    "div",
    {},
    element("div", { class: "scroll" }, canvas),
    notes.length > 0 && element("p", { class: "note" }, notes.join("; ")),
  );
}

function paint(canvas, tensor, shown, [size, tall], lit, chosen) {
  const context = canvas.getContext("2d");
  const of = colours();
  const { min, max } = tensor.summary;
  const largest = Math.max(Math.abs(min), Math.abs(max));
  shown.forEach(([row, all], y) => {
    for (let x = 0; x < tensor.width; x++) {
      context.fillStyle = `rgb(${shade(all[x], largest, of).join(" ")})`;
      context.fillRect(x * size, y * tall, size, tall);
    }
  });
  context.strokeStyle = of.lit;
  context.lineWidth = Math.max(1, Math.min(2, size / 3));
  const columns = columns_of(shown, tensor.width, lit);
  for (const [x, from, to] of columns)
    context.strokeRect(x * size + 0.5, from * tall + 0.5, Math.max(size - 1, 1), (to - from) * tall - 1);
  shown.forEach(([row], y) => {
    if (columns.length) return;
    for (const [from, to] of runs(row * tensor.width, tensor.width, lit))
      context.strokeRect(from * size + 0.5, y * tall + 0.5, Math.max((to - from) * size - 1, 1), Math.max(tall - 1, 1));
  });
  const at = shown.findIndex(([row]) => row === Math.floor(chosen / tensor.width));
  if (chosen !== null && at >= 0)
    context.strokeRect((chosen % tensor.width) * size - 1, at * tall - 1, size + 2, tall + 2);
}

// The stretches of a row whose places are lit, as columns from and to.
function runs(first, width, lit) {
  const found = [];
  for (let x = 0; x < width; x++) {
    if (!lit.has(first + x)) continue;
    if (found.length && found.at(-1)[1] === x) found.at(-1)[1] = x + 1;
    else found.push([x, x + 1]);
  }
  return found;
}

// Where a single column of each of several rows is lit: [column, first row, last row + 1].
function columns_of(shown, width, lit) {
  const of_rows = shown.map(([row]) => runs(row * width, width, lit));
  const lone = of_rows.map((found) => (found.length === 1 && found[0][1] - found[0][0] === 1 ? found[0][0] : null));
  const from = lone.findIndex((x) => x !== null);
  let to = from;
  while (to < lone.length && lone[to] !== null && lone[to] === lone[from]) to++;
  const all = of_rows.filter((found) => found.length).length;
  return from >= 0 && to - from > 1 && all === to - from ? [[lone[from], from, to]] : [];
}

// Moves the chosen element by arrow keys, over the rows that are shown.
function move(event, tensor, shown, chosen, choose) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!steps) return;
  event.preventDefault();
  const row = shown.findIndex(([number]) => number === Math.floor((chosen ?? 0) / tensor.width));
  const to = Math.min(shown.length - 1, Math.max(0, row + steps[0]));
  const column = Math.min(tensor.width - 1, Math.max(0, ((chosen ?? 0) % tensor.width) + steps[1]));
  choose(shown[to][0] * tensor.width + column);
}

// A tensor of one long row, or without whole rows: its sample.
function sample_of(tensor) {
  if (!tensor.values.length)
    return element(
      "p",
      { class: "note" },
      tensor.summary.stride === 0
        ? "Only a checkpoint read it, and the trace did not see its numbers."
        : "It has no numbers.",
    );
  const sample = new Tensor([1, tensor.values.length], tensor.dtype, {
    ...tensor.summary,
    stride: 1,
    rows: [],
    values: [...tensor.values],
  });
  return element(
    "div",
    {},
    heat_map(sample, { label: "a sample" }),
    element("p", { class: "note" }, `every ${tensor.summary.stride}th of ${tensor.size} numbers`),
  );
}
