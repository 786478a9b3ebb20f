// What one operation does: its formula with symbols and with the numbers of an element, its inputs,
// its rule, and what it keeps.

function operation_panel(state, act) {
  const { node } = state;
  const made = element("div");
  made.append(told(node, act));
  if (!node.value_of.size) {
    made.append(element("p", {}, "The result has no elements."));
    return made;
  }
  if (node.leaf) {
    made.append(
      element(
        "p",
        {},
        node.module
          ? "A parameter: no operation made it. An optimiser changes it by its gradient."
          : "A leaf: no operation made it.",
      ),
    );
    made.append(...element_of(state, act, null));
    return made;
  }
  const formula = FORMULAS[node.op] || { element: node.formula, rule: ["the user's own rule"] };
  made.append(element("h3", {}, "Forward"), element("p", { class: "formula" }, formula.element));
  const flat = chosen_element(state);
  const filled = filled_at(node, flat);
  made.append(...element_of(state, act, filled));
  made.append(element("h3", {}, "Inputs: what the element was made of is framed"));
  made.append(inputs_of(filled, act));
  made.append(element("h3", {}, "Backward: g is the gradient of the result"));
  made.append(
    element(
      "ul",
      {},
      formula.rule.map((line) => element("li", { class: "formula" }, line)),
    ),
  );
  made.append(element("p", {}, kept_for_backward(node)));
  return made;
}

// Where it stands, of which shape it is, and what it was told.
function told(node, act) {
  const settings = Object.entries(node.settings).filter(
    ([, value]) => value !== null && (typeof value !== "object" || (Array.isArray(value) && value.length <= 12)),
  );
  const facts = [
    [node.leaf ? "name" : "module", node.module || "none"],
    ["result", `${in_shape(node.shape)} ${node.dtype} on ${node.device}, ${in_bytes(node.bytes())}`],
    ...settings.map(([name, value]) => [
      name.replace("_", " "),
      Array.isArray(value) ? in_shape(value) : String(value),
    ]),
  ];
  const uses = node.consumers.map(({ node: other }) =>
    element("button", { type: "button", class: "link", onclick: () => act.choose(other) }, other.title()),
  );
  const list = facts.map(([name, value]) =>
    element("span", {}, element("span", { class: "soft" }, `${name}: `), value),
  );
  return element(
    "div",
    {},
    element("div", { class: "row note" }, list),
    uses.length > 0 &&
      element("div", { class: "row note" }, element("span", { class: "soft" }, "read by:"), uses.slice(0, 12)),
  );
}

// The chosen element of the node: the last choice if it is one, else the largest that can be shown whole.
function chosen_element(state) {
  const { node } = state;
  if (state.element !== null && state.element < node.value_of.size) return state.element;
  const rows = node.value_of.whole_rows();
  for (const [row, all] of rows.length > 12 ? [rows[Math.min(1, rows.length - 1)], ...rows.slice(0, 8)] : rows) {
    const places = [...all.keys()].sort((a, b) => Math.abs(all[b]) - Math.abs(all[a])).slice(0, 24);
    for (const column of places) {
      const flat = row * node.value_of.width + column;
      if (node.leaf || !filled_at(node, flat).missing) return flat;
    }
  }
  return rows.length ? (explained(node)[0] ?? rows[0][0] * node.value_of.width) : 0;
}

// Elements of a large result of which the page has all numbers.
function explained(node) {
  if (node.leaf || node.value_of.whole) return [];
  const found = [];
  const columns = new Set([0]);
  for (const { tensor } of node.operands()) if (!tensor.whole) for (const row of tensor.rows.keys()) columns.add(row);
  for (const [row] of node.value_of.whole_rows())
    for (const column of [...columns].sort((a, b) => a - b)) {
      const flat = row * node.value_of.width + column;
      if (column < node.value_of.width && !filled_at(node, flat).missing) found.push(flat);
    }
  return found;
}

// The element under the pointer: the formula with its numbers, and the picture to choose it in.
function element_of(state, act, filled) {
  const { node } = state;
  const flat = chosen_element(state);
  const index = node.value_of.index(flat);
  const choice = element("div", { class: "row" }, element("span", { class: "soft" }, "element"));
  index.forEach((at, d) => {
    const input = element("input", {
      type: "number",
      min: 0,
      max: node.shape[d] - 1,
      value: at,
      "aria-label": `index of dimension ${d}`,
    });
    input.addEventListener("change", () => {
      const to = [...index];
      to[d] = Math.min(node.shape[d] - 1, Math.max(0, Number(input.value) || 0));
      act.element(node.value_of.flat(to));
    });
    choice.append(input);
  });
  // The picture stands beside or above the formula, whose length changes: it must not move under the
  // pointer.
  const picture = heat_map(node.value_of, { chosen: flat, choose: act.element, label: `values of ${node.title()}` });
  const title = `${filled ? "The result" : "The values"}${index.length ? ". Choose an element:" : ":"}`;
  const said = [index.length > 0 && choice];
  if (filled)
    said.push(element("div", { class: "filled", id: "filled", "aria-live": "polite" }, written(filled, index)));
  said.push(gradient_of(node, flat));
  const reachable = filled && filled.missing ? explained(node).slice(0, 12) : [];
  if (reachable.length) {
    const buttons = reachable.map((at) =>
      element(
        "button",
        { type: "button", class: "link", onclick: () => act.element(at) },
        `[${node.value_of.index(at).join(", ")}]`,
      ),
    );
    said.push(element("p", { class: "row note" }, "Elements with all numbers: ", buttons));
  }
  return [
    element(
      "div",
      { class: "pair" },
      element("div", {}, element("p", { class: "note" }, title), picture),
      element("div", {}, said),
    ),
  ];
}

// y[…] = the formula = the number, and how near f64 comes to it.
function written(filled, index) {
  const { node } = filled;
  const name = node.shape.length ? `y[${index.join(", ")}]` : "y";
  const result = element("b", { class: "y", title: exact(filled.result, node.dtype) }, short(filled.result, 6));
  if (filled.missing)
    return [element("span", {}, `${name} = `), result, element("span", { class: "soft" }, `  (${filled.missing})`)];
  const difference = Math.abs(filled.value - filled.result);
  const beside =
    difference === 0 || (Number.isNaN(filled.value) && Number.isNaN(filled.result))
      ? "computed again in f64: the same"
      : `computed again in f64: ${short(filled.value, 9)}, a difference of ${short(difference, 2)}`;
  return [`${name} = `, parts_of(filled), " = ", result, element("div", { class: "note" }, beside)];
}

// The parts of a filled formula; a number says on hovering where it stands.
function parts_of(filled) {
  const number = (part) => {
    const from = part.gradient
      ? "the gradient"
      : part.output
        ? "the result"
        : part.input !== undefined
          ? filled.operands[part.input].name
          : "computed";
    const of =
      part.gradient || part.output
        ? filled.node.value_of
        : part.input !== undefined
          ? filled.operands[part.input].tensor
          : null;
    const where = of ? `${from}[${of.index(part.flat).join(", ")}] = ${exact(part.x, of.dtype)}` : exact(part.x, "f64");
    const text = short(part.x, 5);
    return element(
      "b",
      { class: part.gradient ? "g" : null, title: where, "data-x": String(part.x) },
      part.x < 0 ? `(${text})` : text,
    );
  };
  return filled.parts.map((part) => (typeof part === "string" ? part : number(part)));
}

// The gradient of an element, and what each reader sent back.
function gradient_of(node, flat) {
  if (!node.gradient_of) return null;
  const x = node.gradient_of.at(flat);
  const index = node.value_of.index(flat);
  const lines = node.consumers.slice(0, 6).map(({ node: consumer, place }) => {
    const back = sent_back(consumer, place, flat);
    const parts = back.missing
      ? [element("span", { class: "soft" }, back.missing)]
      : [parts_of(back), " = ", short(back.value, 6)];
    return element("div", {}, element("span", { class: "soft" }, `from ${consumer.title()}: `), parts);
  });
  const sum = x === undefined ? "the page does not have it" : short(x, 6);
  return element(
    "div",
    { class: "filled", id: "gradient" },
    `∂loss/∂y${index.length ? `[${index.join(", ")}]` : ""} = `,
    element("b", { class: "g", title: x === undefined ? "" : exact(x, node.dtype) }, sum),
    lines.length > 1 ? " = the sum of" : "",
    lines,
  );
}

function inputs_of(filled, act) {
  const pictures = filled.operands.map((operand, i) => {
    const { tensor, node, name } = operand;
    const title = element(
      "p",
      { class: "note" },
      node ? element("button", { type: "button", class: "link", onclick: () => act.choose(node) }, name) : name,
      ` ${in_shape(tensor.shape)}`,
    );
    return element(
      "div",
      {},
      title,
      heat_map(tensor, {
        lit: filled.lit[i].size > 5000 ? new Set() : filled.lit[i],
        label: `input ${i + 1}: ${name}`,
      }),
    );
  });
  return element("div", { class: "pair" }, pictures);
}

function kept_for_backward(node) {
  if (!node.saved.length) return `It keeps ${node.saves} for this.`;
  const what = node.saved.map(({ what, bytes }) => {
    const own = {
      output: "its result",
      sum: "the sum of its first two inputs",
      inner: "x·Wᵀ + b, before GELU",
      log_sum: "ln Σeˣ of each row",
      statistics: "mean and scale of each row",
    };
    const name = own[what] ?? node.operands()[what.input].name;
    return `${name} (${in_bytes(bytes)})`;
  });
  return `It keeps ${node.saves} for this: ${what.join(", ")}.`;
}
