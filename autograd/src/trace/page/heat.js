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
const cell_size = (columns, rows) => Math.max(1, Math.min(22, Math.floor(560 / columns), Math.max(2, Math.floor(320 / rows))));

// A picture of the tensor. `lit` are the places to be framed, `chosen` one of them; `choose` hears of
// a click and of arrow keys.
function heat_map(tensor, { lit = new Set(), chosen = null, choose = null, label = "" } = {}) {
  const rows = tensor.whole_rows();
  if (!rows.length || !tensor.width) return sample_of(tensor);
  const shown = rows.slice(0, 512);
  const height = tensor.height === 1 && tensor.width < 48 ? 22 : null;
  const size = cell_size(tensor.width, shown.length);
  const tall = height ?? Math.max(size, Math.min(14, Math.floor(220 / shown.length)));
  const canvas = element("canvas", { class: "heat", width: tensor.width * size, height: shown.length * tall, role: "img", "aria-label": label });
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
  return element("div", {}, element("div", { class: "scroll" }, canvas), notes.length > 0 && element("p", { class: "note" }, notes.join("; ")));
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
  shown.forEach(([row], y) => {
    for (let x = 0; x < tensor.width; x++) {
      const flat = row * tensor.width + x;
      if (lit.has(flat)) context.strokeRect(x * size + 0.5, y * tall + 0.5, Math.max(size - 1, 1), Math.max(tall - 1, 1));
      if (flat === chosen) context.strokeRect(x * size - 1, y * tall - 1, size + 2, tall + 2);
    }
  });
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
  if (!tensor.values.length) return element("p", { class: "note" }, tensor.summary.stride === 0 ? "Only a checkpoint read it, and the trace did not see its numbers." : "It has no numbers.");
  const sample = new Tensor([1, tensor.values.length], tensor.dtype, { ...tensor.summary, stride: 1, rows: [], values: [...tensor.values] });
  return element("div", {}, heat_map(sample, { label: "a sample" }), element("p", { class: "note" }, `every ${tensor.summary.stride}th of ${tensor.size} numbers`));
}
