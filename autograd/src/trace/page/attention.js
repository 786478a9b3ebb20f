// Attention: the heads of a layer, the product of one query and one key, and the gradient of the loss
// by each probability.

const layers_of = (step) =>
  step.nodes.filter((node) => node.attention && node.attention.heads[0] > 0 && node.attention.tokens > 0);
const has_attention = (state) => layers_of(state.step).length > 0;

// The token at a place of the first sequence.
function token(place) {
  const [first] = page.data.sequences;
  return (first && first.tokens[place]) ?? `token ${place}`;
}

function attention_panel(state, act) {
  const layers = layers_of(state.step);
  const chosen = state.attention;
  const node = layers.includes(state.node) ? state.node : layers.find((layer) => layer === chosen.layer) || layers[0];
  chosen.layer = node;
  const kept = node.attention;
  const clamp = (x, n) => Math.max(0, Math.min(x, n - 1));
  chosen.head = clamp(chosen.head, kept.heads[0]);
  [chosen.query, chosen.key] = [clamp(chosen.query, kept.tokens), clamp(chosen.key, kept.tokens)];
  const redo = (change) => {
    Object.assign(chosen, change);
    act.redraw_panel();
  };
  const made = element("div");
  made.append(attention_choice(layers, node, kept, chosen, redo, act));
  const sides = [matrix_of(kept, chosen, redo, "probabilities")];
  if (kept.gradient) sides.push(matrix_of(kept, chosen, redo, "gradient"));
  made.append(element("div", { class: "pair" }, sides));
  if (!kept.gradient)
    made.append(
      element("p", { class: "note" }, "Backward did not come here, so there are no gradients of the probabilities."),
    );
  made.append(heads_of(kept, chosen, redo), pair_of(kept, chosen));
  return made;
}

function attention_choice(layers, node, kept, chosen, redo, act) {
  const layer = element(
    "select",
    { id: "attention-layer" },
    layers.map((other) =>
      element("option", { value: other.id, selected: other === node }, other.module || other.title()),
    ),
  );
  layer.addEventListener("change", () => {
    chosen.layer = layers.find((other) => other.id === Number(layer.value));
    if (layers.includes(state.node)) act.choose(chosen.layer);
    else redo({});
  });
  const tokens = (name, id, value) => {
    const select = element(
      "select",
      { id },
      Array.from({ length: kept.tokens }, (_, i) =>
        element("option", { value: i, selected: i === value }, `${i} ${token(i)}`),
      ),
    );
    select.addEventListener("change", () => redo({ [name]: Number(select.value) }));
    return [element("label", { for: id }, name), select];
  };
  const heads = kept.heads[0] < kept.heads[1] ? ` (the trace keeps ${kept.heads[0]} of ${kept.heads[1]} heads)` : "";
  const head = element(
    "select",
    { id: "attention-head" },
    Array.from({ length: kept.heads[0] }, (_, i) =>
      element("option", { value: i, selected: i === chosen.head }, String(i)),
    ),
  );
  head.addEventListener("change", () => redo({ head: Number(head.value) }));
  return element(
    "div",
    { class: "row" },
    element("label", { for: "attention-layer" }, "layer"),
    layer,
    element("label", { for: "attention-head" }, `head${heads}`),
    head,
    tokens("query", "attention-query", chosen.query),
    tokens("key", "attention-key", chosen.key),
  );
}

// The matrix of one head: a row a query, a column a key.
function matrix_of(kept, chosen, redo, which) {
  const n = kept.tokens;
  const all = numbers(kept[which]).slice(chosen.head * n * n, (chosen.head + 1) * n * n);
  const finite = [...all].filter(Number.isFinite);
  const summary = { min: Math.min(...finite), max: Math.max(...finite), stride: 1, values: [...all], rows: [] };
  const picture = heat_map(new Tensor([n, n], "f64", summary), {
    chosen: chosen.query * n + chosen.key,
    label: `${which} of head ${chosen.head}: a row a query, a column a key`,
    choose: (flat) => flat !== chosen.query * n + chosen.key && redo({ query: Math.floor(flat / n), key: flat % n }),
  });
  const title =
    which === "gradient" ? "Gradient of the loss by each probability" : "Probabilities: a row a query, a column a key";
  const x = all[chosen.query * n + chosen.key];
  return element(
    "div",
    {},
    element("h3", {}, title),
    picture,
    element(
      "p",
      { class: "note" },
      `${token(chosen.query)} → ${token(chosen.key)}: `,
      element("b", { "data-x": String(x) }, short(x, 5)),
    ),
  );
}

// Small pictures of all heads.
function heads_of(kept, chosen, redo) {
  const n = kept.tokens;
  const all = numbers(kept.probabilities);
  const one = (head) => {
    const canvas = element("canvas", {
      width: n,
      height: n,
      style: { width: "72px", height: "72px" },
      class: "heat",
      "aria-hidden": "true",
    });
    const summary = { min: 0, max: 1, stride: 1, values: [...all.slice(head * n * n, (head + 1) * n * n)], rows: [] };
    const tensor = new Tensor([n, n], "f64", summary);
    paint(canvas, tensor, tensor.whole_rows(), [1, 1], new Set(), null);
    return element(
      "button",
      {
        type: "button",
        "aria-pressed": String(head === chosen.head),
        "aria-label": `Head ${head}`,
        title: `head ${head}`,
        style: { padding: "4px", borderColor: head === chosen.head ? "var(--lit)" : "" },
        onclick: () => redo({ head }),
      },
      canvas,
    );
  };
  return element(
    "div",
    {},
    element("h3", {}, "All heads"),
    element(
      "div",
      { class: "cards" },
      Array.from({ length: kept.heads[0] }, (_, head) => one(head)),
    ),
  );
}

// q·k of the chosen pair, number by number.
function pair_of(kept, { head, query, key }) {
  const [d, width, n] = [kept.size, kept.heads[0] * kept.size, kept.tokens];
  const part = (list, row) => numbers(list).slice(row * width + head * d, row * width + (head + 1) * d);
  const [q, k] = [part(kept.query, query), part(kept.key, key)];
  const products = [...q].map((x, i) => x * k[i]);
  const dot = products.reduce((sum, x) => sum + x, 0);
  const p = numbers(kept.probabilities)[(head * n + query) * n + key];
  const most = Math.max(...[...q, ...k].map(Math.abs), 1e-30);
  const most_product = Math.max(...products.map(Math.abs), 1e-30);
  const bar = (x, largest) => {
    const share = (50 * Math.abs(x)) / largest;
    return element(
      "span",
      { class: "signed" },
      element("i", {
        class: x < 0 ? "minus" : null,
        style: { width: `${share}%`, left: x < 0 ? `${50 - share}%` : "50%" },
      }),
    );
  };
  const rows = products.map((x, i) => [
    String(i),
    bar(q[i], most),
    { n: short(q[i]) },
    bar(k[i], most),
    { n: short(k[i]) },
    bar(x, most_product),
    { n: short(x) },
  ]);
  return element(
    "div",
    {},
    element("h3", {}, `The score of “${token(query)}” for “${token(key)}” in head ${head}`),
    element(
      "p",
      { id: "score" },
      "q·k = ",
      element("b", { "data-x": String(dot) }, short(dot, 5)),
      `, times ${short(kept.scale)} = `,
      element("b", {}, short(dot * kept.scale, 5)),
      "; after the softmax over all keys p = ",
      element("b", { "data-x": String(p) }, short(p, 5)),
    ),
    element(
      "details",
      { open: d <= 64 },
      element("summary", {}, `The ${d} numbers of the query and of the key`),
      table(["", "query", "", "key", "", "product", ""], rows),
    ),
  );
}
