// Puts the page together: which step, node, element and panel are chosen, and what the address says
// of them.

const state = {
  step: null,
  tree: null,
  open: new Set(),
  show: { forward: true, backward: true, leaves: false },
  node: null,
  element: null,
  panel: "operation",
  card: null,
  second: null,
  attention: { layer: null, head: 0, query: 0, key: 0 },
  file: null,
  moment: null,
  all_rows: false,
};

// Name in the address: title, what draws it, and when there is something to draw.
const PANELS = {
  operation: ["Operation", operation_panel],
  values: ["Values", values_panel],
  cost: ["Time and memory", cost_panel],
  kernels: ["Kernels", kernels_panel],
  attention: ["Attention", attention_panel, has_attention],
  steps: ["Two steps", steps_panel, has_two],
};

const act = {
  choose(node, element = null) {
    [state.node, state.element, state.moment] = [node, element, null];
    for (let module = module_of(node); module; module = module.parent) state.open.add(module.path);
    if (node.leaf && node.module) state.show.leaves = true;
    redraw();
  },
  element(flat) {
    if (flat === state.element) return;
    state.element = flat;
    redraw_panel();
  },
  toggle(path) {
    state.open.has(path) ? state.open.delete(path) : state.open.add(path);
    redraw_graph(path);
  },
  panel(name) {
    state.panel = name;
    redraw_panel();
  },
  redraw: () => redraw(),
  redraw_panel: () => redraw_panel(),
};

function module_of(node) {
  const find = (module) =>
    module.nodes.includes(node) ? module : [...module.children.values()].map(find).find(Boolean);
  return find(state.tree);
}

function redraw() {
  redraw_graph();
  redraw_panel();
}

function redraw_graph(focus) {
  const place = by_id("graph");
  by_id("show-leaves").checked = state.show.leaves;
  const { svg } = draw_graph(state, act);
  place.replaceChildren(svg);
  const at =
    focus !== undefined
      ? (svg.querySelector(`[data-key="m:${CSS.escape(focus)}"]`) ?? svg.querySelector(".item"))
      : null;
  if (at) at.focus();
  const chosen = svg.querySelector(".chosen");
  if (chosen) in_view(place, chosen);
}

// Scrolls the graph, and only it, to an item.
function in_view(place, item) {
  const [inner, outer] = [item.getBoundingClientRect(), place.getBoundingClientRect()];
  if (inner.left < outer.left || inner.right > outer.right)
    place.scrollLeft += inner.left - outer.left - outer.width / 2 + inner.width / 2;
  if (inner.top < outer.top || inner.bottom > outer.bottom)
    place.scrollTop += inner.top - outer.top - outer.height / 2 + inner.height / 2;
}

function redraw_panel() {
  const { node } = state;
  by_id("selected").textContent = node.leaf
    ? node.title()
    : `${node.title()}${node.module ? ` in ${node.module}` : ""}`;
  const available = Object.entries(PANELS).filter(([, [, , when]]) => !when || when(state));
  if (!available.some(([name]) => name === state.panel)) state.panel = "operation";
  const tab = ([name, [title]], i) => {
    const button = element(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${name}`,
        "aria-selected": String(name === state.panel),
        "aria-controls": "panel",
        tabindex: name === state.panel ? "0" : "-1",
        onclick: () => act.panel(name),
      },
      title,
    );
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = available[(i + step + available.length) % available.length][0];
      act.panel(next);
      by_id(`tab-${next}`).focus();
    });
    return button;
  };
  const panel = by_id("panel");
  const within = panel.contains(document.activeElement) && document.activeElement.tagName === "CANVAS";
  const scrolled = [...panel.querySelectorAll(".scroll")].map((place) => place.scrollLeft);
  by_id("tabs").replaceChildren(...available.map(tab));
  panel.setAttribute("aria-labelledby", `tab-${state.panel}`);
  panel.replaceChildren(PANELS[state.panel][1](state, act));
  panel.querySelectorAll(".scroll").forEach((place, i) => (place.scrollLeft = scrolled[i] ?? 0));
  if (within) panel.querySelector("canvas[tabindex]")?.focus({ preventScroll: true });
  remember();
}

// The address tells the state, so that a link or a reload brings it back.
function remember() {
  const said = new URLSearchParams({ node: state.node.id, panel: state.panel });
  if (state.element !== null) said.set("element", state.element);
  const step = page.steps.indexOf(state.step);
  if (step) said.set("step", step);
  if (state.card !== null) said.set("card", state.card);
  try {
    history.replaceState(null, "", `#${said}`);
  } catch {
    // A page in a frame may have no history.
  }
}

function recall() {
  const said = new URLSearchParams(location.hash.slice(1));
  const number = (name) => (said.has(name) ? Number(said.get(name)) : null);
  choose_step(page.steps[number("step") ?? 0] ?? page.steps[0]);
  const node = state.step.nodes[number("node") ?? -1];
  if (node) [state.node, state.element] = [node, number("element")];
  if (PANELS[said.get("panel")]) state.panel = said.get("panel");
  for (let module = module_of(state.node); node && module; module = module.parent) state.open.add(module.path);
  return number("card");
}

function choose_step(step) {
  const before = state.node;
  state.step = step;
  state.tree = modules_of(step);
  if (!state.open.size) state.open = opened_at_first(state.tree);
  const operations = step.nodes.filter((node) => !node.leaf);
  const same = before && step.nodes.find((node) => node.op === before.op && node.module === before.module);
  state.node = same ?? first_node(step, "linear_gelu", "linear", "matmul") ?? operations.at(-1) ?? step.nodes[0];
}

const all_paths = (module) => [module.path, ...[...module.children.values()].flatMap(all_paths)];

async function start() {
  await unpack(by_id("data").textContent);
  const { title, facts } = page.data;
  page.steps = steps_of(page.data);
  by_id("title").textContent = title;
  by_id("facts").textContent = facts.map(([name, value]) => `${name}: ${value}`).join(" · ");
  const card = recall();
  const choice = by_id("step");
  page.steps.forEach((step, i) => choice.append(element("option", { value: i }, step.name)));
  choice.value = page.steps.indexOf(state.step);
  by_id("step-choice").hidden = page.steps.length < 2;
  choice.addEventListener("change", () => {
    choose_step(page.steps[Number(choice.value)]);
    redraw();
  });
  for (const name of ["forward", "backward", "leaves"])
    by_id(`show-${name}`).addEventListener("change", (event) => {
      state.show[name] = event.target.checked;
      redraw_graph();
    });
  by_id("open-all").addEventListener("click", () => {
    state.open = new Set(all_paths(state.tree));
    redraw_graph();
  });
  by_id("close-all").addEventListener("click", () => {
    state.open = new Set([""]);
    redraw_graph();
  });
  by_id("graph-help").textContent =
    "Press a module to open it, its frame to close it, an operation to look at it. With the keyboard: arrow keys move, Enter opens.";
  by_id("graph-legend").replaceChildren(
    element("span", { class: "key" }),
    "values, as wide as their bytes   ",
    element("span", { class: "key back" }),
    "gradients",
  );
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth < 700 !== width < 700) redraw_graph();
    width = window.innerWidth;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  redraw();
  by_id("unpacking").hidden = true;
  if (typeof open_tour === "function") open_tour(card);
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  by_id("unpacking").textContent = `The page cannot show its data: ${error.message}`;
  by_id("unpacking").className = "alert";
});
