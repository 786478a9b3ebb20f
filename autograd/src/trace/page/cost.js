// Time and memory: live bytes over the step with what the saved tensors hold, and each operation's
// rates beside the machine's limits.

// The moments of a step: after each operation forward, then after each rule backward.
function moments_of(step) {
  const forward = step.nodes
    .filter((node) => !node.leaf)
    .map((node) => ({ node, back: false, live: node.live_bytes, cost: node.forward }));
  const back = step.nodes
    .filter((node) => !node.leaf && node.live_bytes_after_backward !== null)
    .sort((a, b) => a.backward_order - b.backward_order);
  return [
    ...forward,
    ...back.map((node) => ({ node, back: true, live: node.live_bytes_after_backward, cost: node.backward })),
  ];
}

// The moments of a step, and the bytes kept for backward after each. They are worked out once: a plot is
// drawn again at every key.
const MEMORY = new WeakMap();

function memory_of(step) {
  if (!MEMORY.has(step)) {
    const moments = moments_of(step);
    MEMORY.set(step, { moments, saved: saved_over(moments) });
  }
  return MEMORY.get(step);
}

// The tensors that a node keeps for backward. What several operations keep has one key.
function kept_by(node) {
  return node.saved.map(({ what, bytes }) => {
    const input = what.input !== undefined ? node.inputs[what.input] : null;
    if (input && input.node !== undefined)
      return { key: `n${input.node}`, bytes, of: node.step.nodes[input.node], what: null };
    if (input) return { key: `c${node.id}.${what.input}`, bytes, of: null, what: null };
    if (what === "output") return { key: `n${node.id}`, bytes, of: node, what: null };
    return { key: `${what}${node.id}`, bytes, of: null, what: `${INSIDE[what]} ${node.title()} ${node.where()}` };
  });
}

// What is kept after a moment: saved tensors whose rule has not run. A tensor that several operations
// keep is held once.
function held_at(moments, at) {
  const past = moments.slice(0, at + 1);
  const done = new Set(past.filter((moment) => moment.back).map((moment) => moment.node));
  const held = new Map();
  for (const { node, back } of past) {
    if (back || done.has(node)) continue;
    for (const kept of kept_by(node)) {
      if (!held.has(kept.key)) held.set(kept.key, { ...kept, by: [] });
      held.get(kept.key).by.push(node);
    }
  }
  return [...held.values()].sort((a, b) => b.bytes - a.bytes);
}

// Bytes kept after each moment, without parameters.
function saved_over(moments) {
  const holders = new Map();
  let sum = 0;
  return moments.map(({ node, back }) => {
    for (const kept of kept_by(node).filter((kept) => !is_parameter(kept))) {
      const before = holders.get(kept.key) ?? 0;
      holders.set(kept.key, before + (back ? -1 : 1));
      if (!back && before === 0) sum += kept.bytes;
      if (back && before === 1) sum -= kept.bytes;
    }
    return sum;
  });
}

// What an operation keeps that no node of the graph is.
const INSIDE = {
  sum: "the sum inside",
  inner: "x·Wᵀ + b inside",
  log_sum: "ln Σeˣ of the rows of",
  statistics: "mean and scale of the rows of",
};

const is_parameter = (held) => Boolean(held.of && held.of.leaf);

function cost_panel(state, act) {
  const { step, node } = state;
  const { moments, saved } = memory_of(step);
  const made = element("div");
  made.append(element("h3", {}, "Live bytes over the step"));
  const of_node = moments.findIndex((moment) => moment.node === node && !moment.back);
  const at = state.moment !== null && state.moment < moments.length ? state.moment : Math.max(0, of_node);
  made.append(memory_plot({ moments, saved }, at, (to) => ((state.moment = to), act.redraw_panel())));
  made.append(moment_told(moments, at, state, act));
  made.append(element("h3", {}, "Operations"), rates_note(step), rates_table(step, state, act));
  return made;
}

function memory_plot({ moments, saved }, at, choose) {
  const [width, height, left] = [Math.min(1180, Math.max(300, window.innerWidth - 60)), 150, 4];
  const most = Math.max(1, ...moments.map((moment) => moment.live));
  const x = (i) => left + (i / Math.max(1, moments.length - 1)) * (width - 2 * left);
  const y = (bytes) => height - (bytes / most) * (height - 14);
  const area = (all) =>
    `M${x(0)} ${height} ${all.map((bytes, i) => `L${x(i)} ${y(bytes)}`).join(" ")} L${x(all.length - 1)} ${height} z`;
  const live = moments.map((moment) => moment.live);
  const half = moments.findIndex((moment) => moment.back);
  const svg = drawn("svg", {
    class: "plot",
    viewBox: `0 0 ${width} ${height + 18}`,
    width: "100%",
    tabindex: "0",
    role: "slider",
    "aria-label": "Moment of the step",
    "aria-valuemin": 0,
    "aria-valuemax": moments.length - 1,
    "aria-valuenow": at,
    "aria-valuetext": moment_name(moments[at]),
  });
  svg.append(
    drawn("path", { class: "area", d: area(live) }),
    drawn("path", { class: "saved", d: area(saved) }),
    drawn("polyline", { class: "line", points: live.map((bytes, i) => `${x(i)},${y(bytes)}`).join(" ") }),
    drawn("line", { class: "axis", x1: 0, y1: height, x2: width, y2: height }),
    drawn("line", { class: "cursor", x1: x(at), y1: 0, x2: x(at), y2: height }),
    drawn("text", { x: left, y: 11 }, `at most ${in_bytes(most)} live`),
    drawn("text", { x: left, y: height + 14 }, "forward"),
  );
  if (half > 0)
    svg.append(
      drawn("line", { class: "half", x1: x(half - 0.5), y1: 0, x2: x(half - 0.5), y2: height }),
      drawn("text", { x: x(half - 0.5) + 5, y: height + 14 }, "backward"),
    );
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    choose(
      Math.min(
        moments.length - 1,
        Math.max(0, Math.round(((event.clientX - box.left) / box.width) * (moments.length - 1))),
      ),
    );
  });
  svg.addEventListener("keydown", (event) => {
    const step = {
      ArrowRight: 1,
      ArrowLeft: -1,
      PageUp: 10,
      PageDown: -10,
      Home: -moments.length,
      End: moments.length,
    }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(Math.min(moments.length - 1, Math.max(0, at + step)));
    document.querySelector("#panel svg[role=slider]").focus();
  });
  return element(
    "div",
    {},
    svg,
    element(
      "p",
      { class: "note" },
      "Blue: all tensors that live on the device. Orange: those kept for backward (without parameters). Press a moment, or move with the arrow keys.",
    ),
  );
}

const moment_name = ({ node, back }) =>
  `after ${back ? "the rule of " : ""}${node.title()}${node.module ? ` in ${node.module}` : ""}`;

function moment_told(moments, at, state, act) {
  const held = held_at(moments, at).filter((tensor) => !is_parameter(tensor));
  const sum = held.reduce((total, tensor) => total + tensor.bytes, 0);
  const name = (tensor) =>
    tensor.of
      ? element(
          "button",
          { type: "button", class: "link", onclick: () => act.choose(tensor.of) },
          `${tensor.of.title()} ${tensor.of.where()}`,
        )
      : tensor.what || "a constant";
  const rows = held
    .slice(0, 10)
    .map((tensor) => [
      name(tensor),
      { n: in_bytes(tensor.bytes) },
      [...new Set(tensor.by.map((node) => node.title()))].join(", "),
    ]);
  if (held.length > 10)
    rows.push([
      `${held.length - 10} more`,
      { n: in_bytes(held.slice(10).reduce((total, tensor) => total + tensor.bytes, 0)) },
      "",
    ]);
  return element(
    "div",
    {},
    element(
      "p",
      { id: "moment", "aria-live": "polite" },
      `${moment_name(moments[at])}: ${in_bytes(moments[at].live)} live; ${in_bytes(sum)} in ${held.length} tensor${held.length === 1 ? "" : "s"} kept for backward, beside parameters.`,
    ),
    rows.length > 0 && table(["kept", { text: "bytes", n: true }, "for the rule of"], rows),
  );
}

// Whether a node ran on a GPU, whose limits the page does not know.
const on_gpu = (node) => !String(node.device).includes("cpu");

function rates_note(step) {
  const { machine } = page.data;
  if (step.nodes.every(on_gpu))
    return element(
      "p",
      { class: "note" },
      "Times are those of the kernels on the GPU, in a traced run; the first run of a kernel may be slower. The page does not know what this GPU can do at most: ",
      element("code", {}, "lab matmul --device gpu"),
      " measures it.",
    );
  return element(
    "p",
    { class: "note" },
    `The processor's limits, measured when the program made its first page: ${short(machine.flops_per_second / 1e9, 3)} GFLOP/s of multiply-adds in registers (${machine.instructions}, ${machine.threads} threads), ${short(machine.bytes_per_second / 1e9, 3)} GB/s read from memory. A small operation that finds its operands in a cache reads faster than memory. Times are those of a traced run.`,
  );
}

// FLOP/s and bytes/s of a cost; null where there are none.
function rates(cost) {
  const rate = (what) => (cost.ns > 0 && what > 0 ? what / (cost.ns / 1e9) : null);
  return [rate(cost.flops), rate(cost.bytes)];
}

function rates_table(step, state, act) {
  const { machine } = page.data;
  const rows = [];
  for (const node of step.nodes.filter((node) => !node.leaf))
    for (const [back, cost] of [
      [false, node.forward],
      [true, node.backward],
    ])
      if (cost.calls.length) rows.push({ node, back, cost });
  const most = Math.max(1, ...rows.map((row) => row.cost.ns));
  const all = rows.reduce((sum, row) => sum + row.cost.ns, 0);
  rows.sort((a, b) => b.cost.ns - a.cost.ns);
  const shown = state.all_rows ? rows : rows.slice(0, 20);
  const share = (node, rate, limit, unit) => {
    if (rate === null) return "";
    const of_limit = on_gpu(node) ? "" : `, ${short((100 * rate) / limit, 2)} %`;
    return `${short(rate / 1e9, 3)} ${unit}${of_limit}`;
  };
  const line = ({ node, back, cost }) => {
    const [flops, bytes] = rates(cost);
    const bar = element("span", { class: back ? "bar back" : "bar", style: { width: `${(60 * cost.ns) / most}px` } });
    return [
      element(
        "button",
        { type: "button", class: "link", onclick: () => act.choose(node) },
        `${node.title()}${back ? ", backward" : ""}`,
      ),
      { n: element("span", { "data-x": String(cost.ns) }, in_time(cost.ns)) },
      bar,
      { n: share(node, flops, machine.flops_per_second, "GFLOP/s") },
      { n: share(node, bytes, machine.bytes_per_second, "GB/s") },
      node.where(),
    ];
  };
  const limit = step.nodes.every(on_gpu) ? "" : ", of the limit";
  const more =
    rows.length > shown.length &&
    element(
      "button",
      { type: "button", class: "plain", onclick: () => ((state.all_rows = true), act.redraw_panel()) },
      `All ${rows.length}`,
    );
  return element(
    "div",
    {},
    element("p", {}, `${in_time(all)} in ${rows.length} operations and rules, the slowest first.`),
    table(
      [
        "operation",
        { text: "time", n: true },
        "",
        { text: `multiply-adds${limit}`, n: true },
        { text: `bytes${limit}`, n: true },
        "module",
      ],
      shown.map(line),
    ),
    more,
  );
}
