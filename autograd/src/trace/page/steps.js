// Two steps side by side: what changed between them, the largest difference first.

const has_two = () => page.steps.length > 1;

// A node and its twin in the other step: the same operation of the same module, in the same order.
function twins(one, two) {
  const key_of = () => {
    const seen = new Map();
    return (node) => {
      const name = `${node.op}|${node.module}|${node.shape.length}`;
      seen.set(name, (seen.get(name) ?? -1) + 1);
      return `${name}|${seen.get(name)}`;
    };
  };
  const key = key_of();
  const other = new Map(two.nodes.map((node) => [key(node), node]));
  const own = key_of();
  return one.nodes.map((node) => [node, other.get(own(node))]).filter(([, twin]) => twin);
}

function steps_panel(state, act) {
  const one = state.step;
  const two =
    page.steps.includes(state.second) && state.second !== one ? state.second : page.steps.find((step) => step !== one);
  const choice = element(
    "select",
    { id: "second" },
    page.steps.map((step, i) => step !== one && element("option", { value: i, selected: step === two }, step.name)),
  );
  choice.addEventListener("change", () => ((state.second = page.steps[Number(choice.value)]), act.redraw_panel()));
  const made = element("div");
  made.append(
    element(
      "div",
      { class: "row" },
      element("span", {}, `${one.name} beside`),
      element("label", { for: "second" }, "the other step"),
      choice,
    ),
  );
  const pairs = twins(one, two);
  const twin = pairs.find(([node]) => node === state.node);
  if (twin) made.append(beside(twin, one, two));
  made.append(
    element("h3", {}, "All that differs, the largest change of spread first"),
    differences(pairs, one, two, act),
  );
  const missing = one.nodes.length - pairs.length;
  if (missing) made.append(element("p", { class: "note" }, `${missing} nodes of ${one.name} are not in ${two.name}.`));
  return made;
}

// One node in both steps.
function beside([node, twin], one, two) {
  const half = (of, step) => {
    const parts = [
      element("h3", {}, `${of.title()}, ${step.name}`),
      element("p", { class: "note" }, "value"),
      histogram(of.value, "bin", "Value"),
      element("p", { class: "note" }, `mean ${short(of.value.mean)}, standard deviation ${short(of.value.std)}`),
    ];
    if (of.gradient)
      parts.push(
        element("p", { class: "note" }, "gradient"),
        histogram(of.gradient, "bin back", "Gradient"),
        element(
          "p",
          { class: "note" },
          `mean ${short(of.gradient.mean)}, standard deviation ${short(of.gradient.std)}`,
        ),
      );
    return element("div", {}, parts);
  };
  return element("div", { class: "pair" }, half(node, one), half(twin, two));
}

// How far two spreads are apart, as the logarithm of their ratio.
function apart(a, b) {
  const size = (summary) => Math.sqrt(summary.std ** 2 + summary.mean ** 2);
  const [x, y] = [size(a), size(b)];
  if (x === y) return 0;
  return x > 0 && y > 0 ? Math.abs(Math.log(y / x)) : Infinity;
}

function differences(pairs, one, two, act) {
  const rows = pairs.map(([node, twin]) => ({
    node,
    twin,
    value: apart(node.value, twin.value),
    gradient: node.gradient && twin.gradient ? apart(node.gradient, twin.gradient) : 0,
  }));
  rows.sort((a, b) => Math.max(b.value, b.gradient) - Math.max(a.value, a.gradient));
  const size = (summary) => short(Math.sqrt(summary.std ** 2 + summary.mean ** 2), 3);
  const change = (a, b) => ({ n: a && b ? `${size(a)} → ${size(b)}` : "–" });
  const lines = rows.slice(0, 40).map(({ node, twin }) => [
    element("button", { type: "button", class: "link", onclick: () => act.choose(node) }, node.title()),
    node.where(),
    change(node.value, twin.value),
    change(node.gradient, twin.gradient),
    {
      n: node.leaf
        ? ""
        : `${in_time(node.forward.ns + node.backward.ns)} → ${in_time(twin.forward.ns + twin.backward.ns)}`,
    },
  ]);
  return table(
    [
      "node",
      "module",
      { text: "size of the value, √(Σx²/n)", n: true },
      { text: "size of the gradient", n: true },
      { text: "time", n: true },
    ],
    lines,
  );
}
