// The graph: modules that open down to operations, left to right (on a narrow page downwards).

const BOX = { width: 148, height: 42, gap: 32, lane: 20 };

// The modules of a step as a tree: {path, name, children, nodes}.
function modules_of(step) {
  const root = { path: "", name: "", parent: null, children: new Map(), nodes: [] };
  for (const node of step.nodes) {
    const path = node.leaf ? node.module.split(".").slice(0, -1).join(".") : node.module;
    let at = root;
    for (const name of path ? path.split(".") : []) {
      const own = at.path ? `${at.path}.${name}` : name;
      if (!at.children.has(name))
        at.children.set(name, { path: own, name, parent: at, children: new Map(), nodes: [] });
      at = at.children.get(name);
    }
    at.nodes.push(node);
  }
  return joined(root);
}

// A module with one child and nothing else becomes one with it: `bert.encoder`.
function joined(module) {
  for (const [name, child] of module.children) module.children.set(name, joined(child));
  if (module.parent && module.children.size === 1 && !module.nodes.length) {
    const [only] = module.children.values();
    return { ...only, name: `${module.name}.${only.name}`, parent: module.parent };
  }
  for (const child of module.children.values()) child.parent = module;
  return module;
}

const all_nodes = (module) => [...module.nodes, ...[...module.children.values()].flatMap(all_nodes)];
const has_operation = (module) => all_nodes(module).some((node) => !node.leaf);

// Opens modules from the outside in, as long as the picture stays small.
function opened_at_first(root) {
  const open = new Set([""]);
  const visible = () => items_of(root, open, { leaves: false }).length;
  const queue = [...root.children.values()];
  while (queue.length) {
    const module = queue.shift();
    open.add(module.path);
    if (visible() > 16) open.delete(module.path);
    else queue.push(...module.children.values());
  }
  return open;
}

// What is visible: closed modules, and nodes of open ones.
function items_of(module, open, show) {
  const items = [];
  for (const child of module.children.values()) {
    if (!has_operation(child) && !show.leaves) continue;
    if (open.has(child.path)) items.push(...items_of(child, open, show));
    else items.push({ key: `m:${child.path}`, module: child, nodes: all_nodes(child), parent: module });
  }
  for (const node of module.nodes) {
    if (node.leaf && node.module && !show.leaves) continue;
    items.push({ key: `n:${node.id}`, node, nodes: [node], parent: module });
  }
  return items.sort((a, b) => first_of(a) - first_of(b));
}

function first_of(item) {
  const own = item.nodes.filter((node) => !node.leaf);
  return Math.min(...(own.length ? own : item.nodes).map((node) => node.id));
}

// Edges between items: how many bytes of values go along, and whether a gradient comes back.
function edges_of(items, step) {
  const place = new Map();
  items.forEach((item, i) => item.nodes.forEach((node) => place.set(node.id, i)));
  const edges = new Map();
  for (const node of step.nodes) {
    const to = place.get(node.id);
    for (const input of node.inputs) {
      const from = place.get(input.node);
      if (from === undefined || to === undefined || from === to) continue;
      const key = `${from}>${to}`;
      if (!edges.has(key)) edges.set(key, { from, to, read: new Set(), bytes: 0, gradient: false });
      const edge = edges.get(key);
      if (edge.read.has(input.node)) continue;
      edge.read.add(input.node);
      edge.bytes += step.nodes[input.node].bytes();
      edge.gradient ||= Boolean(step.nodes[input.node].gradient_of && node.gradient_of);
    }
  }
  return [...edges.values()];
}

// Columns by the longest way from the beginning, lanes by what is free.
function place_items(items, edges) {
  const incoming = items.map((_, i) => edges.filter((edge) => edge.to === i && edge.from < i));
  const of_operations = (i) => incoming[i].map((edge) => items[edge.from]).filter((from) => !is_given(from));
  items.forEach((item, i) => {
    item.column = is_given(item) ? 0 : Math.max(0, ...of_operations(i).map((from) => from.column + 1));
  });
  // What no operation made stands just before what reads it, if need be left of all others; a parameter
  // stands below.
  const readers = (i) => edges.filter((edge) => edge.from === i).map((edge) => items[edge.to].column);
  items.forEach((item, i) => {
    const before = item.nodes.some((node) => node.module) ? 0 : 1;
    if (is_given(item) && readers(i).length) item.column = Math.min(...readers(i)) - before;
  });
  const first = Math.min(0, ...items.map((item) => item.column));
  items.forEach((item) => (item.column -= first));
  const taken = new Map();
  const settle = (item, wished) => {
    const used = taken.get(item.column) || new Set();
    let lane = wished;
    while (used.has(lane)) lane++;
    item.lane = lane;
    taken.set(item.column, used.add(lane));
  };
  // Operations first, each in the lane of what it reads; then the others beside what reads them.
  items.forEach((item, i) => is_given(item) || settle(item, of_operations(i).at(0)?.lane ?? 0));
  items.forEach((item, i) => {
    const reader = edges.find((edge) => edge.from === i);
    if (is_given(item)) settle(item, reader ? (items[reader.to].lane ?? 0) : 0);
  });
}

// Whether no operation made it: a leaf, or a module of parameters alone.
const is_given = (item) => item.nodes.every((node) => node.leaf);

function draw_graph(state, act) {
  const { step, tree, open, show } = state;
  const upright = window.innerWidth < 700;
  const items = items_of(tree, open, show);
  const edges = edges_of(items, step);
  place_items(items, edges);
  const long = (upright ? BOX.height : BOX.width) + BOX.gap + (upright ? 8 : 14);
  const across = (upright ? BOX.width : BOX.height) + BOX.lane;
  const arcs = edges.some((edge) => items[edge.to].column - items[edge.from].column > 1) ? 34 : 0;
  for (const item of items) {
    const [along, side] = [30 + item.column * long, 34 + arcs + item.lane * across];
    [item.x, item.y] = upright ? [side, along] : [along, side];
  }
  const right = Math.max(0, ...items.map((item) => item.x)) + BOX.width + 30;
  const bottom = Math.max(0, ...items.map((item) => item.y)) + BOX.height + 30;
  const svg = drawn("svg", {
    width: right,
    height: bottom,
    viewBox: `0 0 ${right} ${bottom}`,
    role: "group",
    "aria-label": "Graph of the step",
  });
  svg.append(arrowheads());
  module_frames(items, act).forEach((frame) => svg.append(frame));
  // A table of embeddings would make all else thin.
  const made = edges.filter((edge) => !is_given(items[edge.from]));
  const most = Math.max(4096, ...made.map((edge) => edge.bytes));
  for (const edge of edges) svg.append(...lines(edge, items, most, upright, state));
  items.forEach((item, i) => svg.append(box(item, i, items, edges, state, act)));
  return { svg, items };
}

function arrowheads() {
  const head = (id, name) =>
    drawn(
      "marker",
      {
        id,
        class: name,
        viewBox: "0 0 8 8",
        refX: 7,
        refY: 4,
        markerWidth: 9,
        markerHeight: 9,
        markerUnits: "userSpaceOnUse",
        orient: "auto-start-reverse",
      },
      drawn("path", { d: "M0 0 L8 4 L0 8 z" }),
    );
  return drawn("defs", {}, head("to", "forth"), head("fro", "back"));
}

// The frames of open modules, around their items; the outer ones first.
function module_frames(items, act) {
  const boxes = new Map();
  for (const item of items)
    for (let module = item.parent, depth = 0; module && module.path; module = module.parent, depth++) {
      const box = boxes.get(module) || { x: Infinity, y: Infinity, right: 0, bottom: 0, deep: 0 };
      boxes.set(module, {
        x: Math.min(box.x, item.x),
        y: Math.min(box.y, item.y),
        right: Math.max(box.right, item.x + BOX.width),
        bottom: Math.max(box.bottom, item.y + BOX.height),
        deep: Math.max(box.deep, depth),
      });
    }
  const depth_of = (module) => (module.parent ? 1 + depth_of(module.parent) : 0);
  return [...boxes]
    .sort(([a], [b]) => depth_of(a) - depth_of(b))
    .map(([module, box]) => {
      const pad = 7 + Math.min(box.deep, 2) * 3;
      const close = () => act.toggle(module.path);
      const frame = drawn("g", {
        class: "frame",
        tabindex: "0",
        role: "button",
        "aria-label": `Close ${module.path}`,
        onclick: close,
      });
      frame.addEventListener("keydown", (event) => pressed(event, close));
      frame.append(
        drawn("title", {}, `${module.path}: press to close`),
        drawn("rect", {
          x: box.x - pad,
          y: box.y - pad - 12,
          width: box.right - box.x + 2 * pad,
          height: box.bottom - box.y + 2 * pad + 12,
          rx: 8,
        }),
        drawn(
          "text",
          { x: box.x - pad + 6, y: box.y - pad - 1 },
          clipped(module.name, Math.floor((box.right - box.x + 10) / 6)),
        ),
      );
      return frame;
    });
}

const clipped = (text, most) => (text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text);

function pressed(event, then) {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  then();
}

// The way of the values, and that of the gradients back.
function lines(edge, items, most, upright, state) {
  const [from, to] = [items[edge.from], items[edge.to]];
  const width = 1 + 6 * Math.min(1, Math.sqrt(edge.bytes / most));
  const near = !state.node || [from, to].some((item) => item.nodes.includes(state.node));
  const made = [];
  const path = (shift, reversed) => {
    const side = upright ? from.x + BOX.width / 2 + shift : from.y + BOX.height / 2 + shift;
    const end_side = upright ? to.x + BOX.width / 2 + shift : to.y + BOX.height / 2 + shift;
    const begin = upright ? from.y + BOX.height : from.x + BOX.width;
    const end = (upright ? to.y : to.x) - 2;
    const point = (along, across) => (upright ? `${across} ${along}` : `${along} ${across}`);
    const span = to.column - from.column;
    if (span === 0) {
      // From a parameter up to the operation above it.
      const [out, bend] = upright ? [from.y + BOX.height, 14] : [from.x + BOX.width, 16];
      const [own, goal] = upright
        ? [from.x + BOX.width / 2, to.x + BOX.width + 2]
        : [from.y + BOX.height / 2, to.y + BOX.height + 2];
      const [at, below] = [(upright ? to.y + BOX.height : to.x + BOX.width) - 16 - shift, goal + 12];
      const d = [point(out, own), point(out + bend, own), point(at, below), point(at, goal)];
      const way = reversed ? d.reverse() : d;
      return `M${way[0]} C${way[1]} ${way[2]} ${way[3]}`;
    }
    if (span === 1) {
      const middle = (begin + end) / 2;
      const d = [point(begin, side), point(middle, side), point(middle, end_side), point(end, end_side)];
      const way = reversed ? d.reverse() : d;
      return `M${way[0]} C${way[1]} ${way[2]} ${way[3]}`;
    }
    // A longer way goes around the boxes between.
    const rim = Math.min(side, end_side) - (upright ? BOX.width : BOX.height) / 2 - 16 - Math.min(span, 6) * 3 + shift;
    const d = [
      point(begin, side),
      point(begin + 20, side),
      point(begin + 20, rim),
      point(begin + 44, rim),
      point(end - 44, rim),
      point(end - 20, rim),
      point(end - 20, end_side),
      point(end, end_side),
    ];
    const way = reversed ? d.reverse() : d;
    return `M${way[0]} C${way[1]} ${way[2]} ${way[3]} L${way[4]} C${way[5]} ${way[6]} ${way[7]}`;
  };
  const faint = near ? "" : " faint";
  if (state.show.forward)
    made.push(
      drawn(
        "path",
        {
          class: `edge${faint}`,
          d: path(edge.gradient && state.show.backward ? -5 : 0, false),
          "stroke-width": width,
          "marker-end": "url(#to)",
        },
        drawn("title", {}, `${in_bytes(edge.bytes)} of values`),
      ),
    );
  if (edge.gradient && state.show.backward)
    made.push(
      drawn(
        "path",
        {
          class: `edge back${faint}`,
          d: path(state.show.forward ? 5 : 0, true),
          "stroke-width": Math.max(1, width * 0.7),
          "marker-end": "url(#fro)",
        },
        drawn("title", {}, `${in_bytes(edge.bytes)} of gradients`),
      ),
    );
  return made;
}

function box(item, i, items, edges, state, act) {
  const { node, module } = item;
  const chosen = item.nodes.includes(state.node);
  const kind = module ? "module" : node.leaf ? "leaf" : "operation";
  const title = module ? module.name : node.leaf && node.module ? node.module.split(".").at(-1) : node.title();
  const sub = module ? contents(item) : single(node);
  const press = () => (module ? act.toggle(module.path) : act.choose(node));
  const label = module
    ? `Module ${module.path}, ${sub}, closed`
    : `${node.title()} ${node.where()}, ${in_shape(node.shape)}`;
  const made = drawn("g", {
    class: `item ${kind}${chosen ? " chosen" : ""}`,
    tabindex: chosen || (i === 0 && !items.some((other) => other.nodes.includes(state.node))) ? "0" : "-1",
    role: "button",
    "aria-label": label,
    "aria-pressed": module ? null : String(chosen),
    "aria-expanded": module ? "false" : null,
    "data-key": item.key,
    transform: `translate(${item.x} ${item.y})`,
    onclick: press,
  });
  made.addEventListener("keydown", (event) => walk(event, i, items, edges, press));
  made.append(
    drawn("title", {}, module ? `${module.path}: press to open` : `${label}. ${node.formula}`),
    drawn("rect", { width: BOX.width, height: BOX.height, rx: kind === "operation" ? 20 : 5 }),
    drawn("text", { class: "name", x: BOX.width / 2, y: 18, "text-anchor": "middle" }, clipped(title, 18)),
    drawn("text", { class: "sub", x: BOX.width / 2, y: 33, "text-anchor": "middle" }, clipped(sub, 23)),
  );
  return made;
}

function contents(item) {
  const operations = item.nodes.filter((node) => !node.leaf).length;
  const [n, what] = operations ? [operations, "operation"] : [item.nodes.length, "parameter"];
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

function single(node) {
  if (node.value_of.size === 1 && node.value_of.whole) return short(node.value_of.at(0));
  return `${in_shape(node.shape)} ${node.dtype}`;
}

// Arrow keys go along edges, and to the neighbours above and below.
function walk(event, i, items, edges, press) {
  pressed(event, press);
  const [column, lane] = [items[i].column, items[i].lane];
  const to = (list) => list[0];
  const goal = {
    ArrowRight: () =>
      to(
        edges
          .filter((edge) => edge.from === i)
          .map((edge) => edge.to)
          .sort((a, b) => a - b),
      ) ?? i + 1,
    ArrowLeft: () =>
      to(
        edges
          .filter((edge) => edge.to === i)
          .map((edge) => edge.from)
          .sort((a, b) => b - a),
      ) ?? i - 1,
    ArrowDown: () =>
      to(
        items
          .map((_, j) => j)
          .filter((j) => items[j].column === column && items[j].lane > lane)
          .sort((a, b) => items[a].lane - items[b].lane),
      ) ?? i + 1,
    ArrowUp: () =>
      to(
        items
          .map((_, j) => j)
          .filter((j) => items[j].column === column && items[j].lane < lane)
          .sort((a, b) => items[b].lane - items[a].lane),
      ) ?? i - 1,
    Home: () => 0,
    End: () => items.length - 1,
  }[event.key];
  if (!goal) return;
  event.preventDefault();
  const at = Math.min(items.length - 1, Math.max(0, goal()));
  const all = document.querySelectorAll("#graph .item");
  all.forEach((other, j) => other.setAttribute("tabindex", j === at ? "0" : "-1"));
  all[at].focus();
  all[at].scrollIntoView({ block: "nearest", inline: "nearest" });
}
