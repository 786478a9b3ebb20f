// Values and gradients of one tensor side by side, and what looks wrong in the step.

function values_panel(state, act) {
  const { node } = state;
  const made = element("div");
  const warnings = warnings_of(node, state.step);
  if (warnings.length)
    made.append(
      element(
        "div",
        { class: "alert" },
        warnings.map((line) => element("div", {}, line)),
      ),
    );
  const sides = [side("Value", node.value_of, "bin", state, act)];
  if (node.gradient_of) sides.push(side("Gradient", node.gradient_of, "bin back", state, act));
  else
    sides.push(
      element(
        "div",
        {},
        element("h3", {}, "Gradient"),
        element("p", { class: "note" }, "Backward did not come to it."),
      ),
    );
  made.append(element("div", { class: "pair" }, sides));
  const update = update_of(node, state.step);
  if (update) made.append(element("h3", {}, "Update"), update);
  made.append(element("h3", {}, "What to look at in this step"), noticed(state, act));
  return made;
}

function side(title, tensor, kind, state, act) {
  const { summary, dtype } = tensor;
  if (summary.stride === 0) return element("div", {}, element("h3", {}, title), sample_of(tensor));
  const norm = Math.sqrt(
    (summary.std ** 2 + summary.mean ** 2) * Math.max(0, tensor.size - summary.nan - summary.infinite),
  );
  const facts = [
    ["smallest", summary.min],
    ["largest", summary.max],
    ["mean", summary.mean],
    ["standard deviation", summary.std],
    ["√Σx²", norm],
  ].map(([name, x]) => [name, { n: element("span", { title: exact(x, "f64"), "data-x": String(x) }, short(x, 5)) }]);
  facts.push(
    ["numbers", { n: String(tensor.size) }],
    ["NaN", { n: String(summary.nan) }],
    ["infinite", { n: String(summary.infinite) }],
  );
  return element(
    "div",
    {},
    element("h3", {}, title),
    histogram(summary, kind, title),
    table(["", { text: "", n: true }], facts),
    heat_map(tensor, { label: `${title} as a heat map`, chosen: state.element, choose: act.element }),
    numbers_table(tensor, state, act, title, dtype),
  );
}

function histogram(summary, kind, title) {
  const bins = [...numbers(summary.histogram)];
  const most = Math.max(1, ...bins);
  const [width, height] = [320, 90];
  const svg = drawn("svg", {
    class: "plot small",
    width: "100%",
    viewBox: `0 0 ${width} ${height + 16}`,
    role: "img",
    "aria-label": `${title}: histogram of 32 ranges from ${short(summary.min)} to ${short(summary.max)}`,
  });
  bins.forEach((n, i) => {
    const tall = n ? Math.max(1, (n / most) * height) : 0;
    const from = summary.min + ((summary.max - summary.min) * i) / bins.length;
    svg.append(
      drawn(
        "rect",
        { class: kind, x: i * 10, y: height - tall, width: 9, height: tall },
        drawn("title", {}, `${n} from ${short(from)}`),
      ),
    );
  });
  svg.append(
    drawn("line", { class: "axis", x1: 0, y1: height, x2: width, y2: height }),
    drawn("text", { x: 0, y: height + 13 }, short(summary.min)),
    drawn("text", { x: width, y: height + 13, "text-anchor": "end" }, short(summary.max)),
  );
  return svg;
}

// The numbers around the chosen element, or from the beginning.
function numbers_table(tensor, state, act, title, dtype) {
  const rows = tensor.whole_rows();
  if (!rows.length) return element("p", { class: "note" }, `The page has every ${tensor.summary.stride}th number.`);
  const [flat, across, down] = [state.element ?? 0, 8, 8];
  const at = Math.max(
    0,
    rows.findIndex(([row]) => row === Math.floor(flat / tensor.width)),
  );
  const first_row = Math.max(0, Math.min(at - down / 2, rows.length - down));
  const first = Math.max(0, Math.min((flat % tensor.width) - across / 2, tensor.width - across));
  const columns = Array.from({ length: Math.min(across, tensor.width) }, (_, i) => first + i);
  const head = element(
    "tr",
    {},
    element("th", {}, ""),
    columns.map((column) => element("th", { class: "n", scope: "col" }, String(column))),
  );
  const body = rows.slice(first_row, first_row + down).map(([row, all]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, String(row)),
      columns.map((column) => {
        const place = row * tensor.width + column;
        return element(
          "td",
          {
            class: place === state.element ? "lit" : null,
            title: exact(all[column], dtype),
            "data-flat": place,
            onclick: () => act.element(place),
          },
          short(all[column], 4),
        );
      }),
    ),
  );
  return element(
    "details",
    { open: true },
    element("summary", {}, `${title}: numbers of rows and columns around the chosen element`),
    element(
      "div",
      { class: "scroll" },
      element("table", { class: "numbers" }, element("thead", {}, head), element("tbody", {}, body)),
    ),
  );
}

// What looks wrong in a node; each as a sentence.
function warnings_of(node, step) {
  const said = [];
  for (const [name, tensor] of [
    ["value", node.value_of],
    ["gradient", node.gradient_of],
  ]) {
    if (!tensor) continue;
    const { nan, infinite, std, min, max, stride } = tensor.summary;
    if (nan) said.push(`${nan} of ${tensor.size} numbers of its ${name} are NaN.`);
    if (infinite) said.push(`${infinite} of ${tensor.size} numbers of its ${name} are infinite.`);
    if (stride && name === "gradient" && tensor.size > 1 && min === 0 && max === 0)
      said.push("Its gradient is 0 everywhere: nothing is learnt from it.");
    if (stride && name === "value" && tensor.size > 64 && std === 0 && !node.leaf && !nan)
      said.push("All its numbers are equal.");
  }
  said.push(...of_activation(node));
  const ratio = ratio_of(node, step);
  if (ratio > 0.1)
    said.push(`The step changes it by ${short(100 * ratio, 3)} % of its size: the rate may be too high.`);
  return said;
}

// Dead units, and saturation.
function of_activation(node) {
  const { values } = node.value_of;
  const share = (is) => values.reduce((n, x) => n + (is(x) ? 1 : 0), 0) / Math.max(values.length, 1);
  if (node.op === "relu" && node.value_of.whole && node.value_of.height > 1) {
    const { width, height } = node.value_of;
    const dead = Array.from({ length: width }, (_, column) => column).filter((column) =>
      Array.from({ length: height }, (_, row) => values[row * width + column]).every((x) => x <= 0),
    );
    if (dead.length) return [`${dead.length} of ${width} units are dead: 0 for all ${height} rows.`];
  }
  if (["tanh", "sigmoid"].includes(node.op)) {
    const flat = share((x) => Math.abs(x) > 0.99 || (node.op === "sigmoid" && x < 0.01));
    if (flat > 0.5) return [`${short(100 * flat, 3)} % of the units are saturated, where the slope is almost 0.`];
  }
  if (node.attention) {
    const p = numbers(node.attention.probabilities);
    const n = node.attention.tokens;
    const sure = p.reduce((sum, x) => sum + (x > 0.99 ? 1 : 0), 0) / Math.max(1, p.length / n);
    if (n > 1 && sure > 0.5) return [`${short(100 * sure, 3)} % of the queries attend to one key alone.`];
  }
  return [];
}

function ratio_of(node, step) {
  const changed =
    step.update && node.leaf && step.update.parameters.find((parameter) => parameter.name === node.module);
  return changed && changed.norm > 0 ? changed.change / changed.norm : 0;
}

// What the optimiser did with a parameter.
function update_of(node, step) {
  const changed =
    step.update && node.leaf && step.update.parameters.find((parameter) => parameter.name === node.module);
  if (!changed) return null;
  const facts = [
    ["√Σw² before", changed.norm],
    ["√Σ(Δw)²", changed.change],
    ["update ratio, the second over the first", changed.norm > 0 ? changed.change / changed.norm : NaN],
    ["rate", changed.lr],
    ["weight decay", changed.weight_decay],
  ];
  return table(
    ["", { text: step.update.optimizer, n: true }],
    facts.map(([name, x]) => [
      name,
      { n: element("span", { title: exact(x, "f64"), "data-x": String(x) }, short(x, 5)) },
    ]),
  );
}

// The nodes of the step at which something looks wrong, and the parameters by their update ratio.
function noticed(state, act) {
  const { step } = state;
  const wrong = step.nodes.map((node) => [node, warnings_of(node, step)]).filter(([, said]) => said.length);
  const link = (node) =>
    element(
      "button",
      { type: "button", class: "link", onclick: () => act.choose(node) },
      `${node.title()}${node.leaf ? "" : ` ${node.where()}`}`,
    );
  const made = element("div");
  if (wrong.length)
    made.append(
      table(
        ["where", "what"],
        wrong.slice(0, 30).map(([node, said]) => [link(node), said.join(" ")]),
      ),
    );
  else
    made.append(
      element(
        "p",
        { class: "note" },
        "No NaN, no infinity, no dead units, no saturation, and no update of more than 10 % of a parameter.",
      ),
    );
  if (step.update) {
    const by_name = new Map(step.nodes.filter((node) => node.leaf).map((node) => [node.module, node]));
    const rows = step.update.parameters
      .map((p) => [p, p.norm > 0 ? p.change / p.norm : 0])
      .sort((a, b) => b[1] - a[1])
      .slice(0, 12);
    made.append(
      element("h3", {}, "The parameters that the step changes most, for their size"),
      table(
        ["parameter", { text: "update ratio", n: true }],
        rows.map(([p, ratio]) => [by_name.has(p.name) ? link(by_name.get(p.name)) : p.name, { n: short(ratio, 3) }]),
      ),
    );
  }
  return made;
}
