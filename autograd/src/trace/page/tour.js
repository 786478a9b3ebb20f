// The tour: cards that tell the step in its own numbers, from the text to the change of one weight.
// A card sets the view at once; its text waits for the reader.

const bold = (x, digits = 4) => element("b", { "data-x": String(x) }, short(x, digits));

// The first node of an operation whose name is one of `names`.
const first_node = (step, ...names) => step.nodes.find((node) => names.includes(node.op));

function cards_of(step) {
  const embedding = first_node(step, "embedding");
  const cards = embedding && page.data.sequences.length ? cards_of_a_text(step, embedding) : cards_of_a_graph(step);
  return [...cards, ...cards_of_backward(step)];
}

// A place of a result that the page can explain.
function place_in(node) {
  return node.value_of.whole ? 0 : (explained(node)[0] ?? 0);
}

function cards_of_a_text(step, embedding) {
  const [first] = page.data.sequences;
  const cards = [];
  const n = first.tokens.length;
  cards.push({
    title: "The text becomes tokens",
    view: { node: embedding, panel: "operation" },
    text: () => [
      first.text && element("p", {}, `“${clipped(first.text, 240)}”`),
      element(
        "div",
        { class: "cards" },
        first.tokens.slice(0, 48).map((piece) => element("span", { class: "token" }, piece)),
      ),
      element("p", {}, `${n} tokens. A tokenizer cuts words into pieces that its vocabulary has; ## continues a word.`),
      page.data.sequences.length > 1 &&
        element(
          "p",
          { class: "soft" },
          `The step has ${page.data.sequences.length} texts, one after another and without padding. The tour follows the first.`,
        ),
    ],
  });
  const row = Math.min(1, n - 1);
  const ids = numbers(embedding.settings.ids || []);
  cards.push({
    title: "A token becomes numbers",
    view: { node: embedding, element: row_shown(embedding, row), panel: "operation" },
    text: () => {
      const at = row_shown(embedding, row);
      const line = Math.floor(at / embedding.value_of.width);
      return [
        element(
          "p",
          {},
          `“${token(line)}” has the id ${ids[line] ?? "?"}. Its row of the table is a vector of ${embedding.value_of.width} numbers, which training has found. The chosen one is `,
          bold(embedding.value_of.at(at)),
          ".",
        ),
      ];
    },
  });
  const queries = first_node(step, "linear_cat") ?? first_node(step, "linear");
  if (queries)
    cards.push({
      title: "Query, key and value",
      view: { node: queries, element: place_in(queries), panel: "operation" },
      text: () => [
        element(
          "p",
          {},
          "One product makes three vectors of each token: what it looks for (query), what it can be found by (key), and what it passes on (value). One of their numbers is ",
        ),
        result_line(queries, place_in(queries)),
      ],
    });
  const [attention] = layers_of(step);
  if (attention) cards.push(...cards_of_attention(attention));
  const norm = first_node(step, "dropout_add_layer_norm", "dropout_add_rms_norm");
  if (norm)
    cards.push({
      title: "Add, and bring to one size",
      view: { node: norm, element: place_in(norm), panel: "operation" },
      text: () => [
        element(
          "p",
          {},
          "What attention found is added to what the token was. The norm then brings the numbers of a token to mean 0 and spread 1, times a weight, plus a bias: the result has the spread ",
        ),
        element("p", {}, bold(norm.value.std), "."),
      ],
    });
  const feed = first_node(step, "linear_gelu", "glu", "gelu");
  if (feed)
    cards.push({
      title: "The feed-forward layer",
      view: { node: feed, element: place_in(feed), panel: "operation" },
      text: () => [
        element(
          "p",
          {},
          "Each token by itself goes through a wider layer with a bend in it, GELU: without a bend, all layers together would be one. ",
        ),
        result_line(feed, place_in(feed)),
      ],
    });
  return cards;
}

// A place in a row of a large result whose numbers are on the page: the wished row, or the next.
function row_shown(node, row) {
  const rows = node.value_of.whole_rows().map(([number]) => number);
  const at = rows.includes(row) ? row : (rows.find((number) => number > row) ?? rows[0] ?? 0);
  return at * node.value_of.width;
}

function result_line(node, at) {
  const filled = filled_at(node, at);
  if (filled.missing) return element("p", { class: "soft" }, filled.missing);
  return element("p", { class: "filled" }, parts_of(filled), " = ", bold(filled.result, 6));
}

function cards_of_attention(node) {
  const kept = node.attention;
  const n = kept.tokens;
  const p = numbers(kept.probabilities);
  // The pair of different tokens, beside the special ones at the ends, that attend most in head 0.
  let best = [0, n > 1 ? 1 : 0];
  for (let i = 1; i < n - 1; i++)
    for (let j = 1; j < n - 1; j++) if (i !== j && p[i * n + j] > p[best[0] * n + best[1]]) best = [i, j];
  const [i, j] = best;
  const width = kept.heads[0] * kept.size;
  const [q, k] = [numbers(kept.query), numbers(kept.key)];
  const dot = Array.from({ length: kept.size }, (_, d) => q[i * width + d] * k[j * width + d]).reduce(
    (sum, x) => sum + x,
    0,
  );
  const view = { node, panel: "attention", attention: { layer: node, head: 0, query: i, key: j } };
  return [
    {
      title: "Who attends to whom",
      view,
      text: () => [
        element(
          "p",
          {},
          `In head 0, the query of “${token(i)}” times the key of “${token(j)}” is `,
          bold(dot),
          `; times ${short(kept.scale)} that is the score. A softmax over all ${n} keys makes it a share of `,
          bold(p[i * n + j]),
          ".",
        ),
      ],
    },
    {
      title: "What a token takes over",
      view: { node, element: i * node.value_of.width, panel: "operation" },
      text: () => [
        element("p", {}, `Each token gets the sum of all values, each times its share. For “${token(i)}”:`),
        result_line(node, i * node.value_of.width),
      ],
    },
  ];
}

// A graph without a text: the leaves, then some of its operations.
function cards_of_a_graph(step) {
  const leaves = step.nodes.filter((node) => node.leaf);
  const operations = step.nodes.filter((node) => !node.leaf);
  const cards = [];
  if (leaves.length)
    cards.push({
      title: "What is given",
      view: { node: leaves[0], panel: "operation" },
      text: () => [
        element(
          "p",
          {},
          `${leaves.length} leaves, of which no operation is the origin: `,
          leaves
            .slice(0, 6)
            .map((node, i) => [i ? ", " : "", node.module || `leaf ${node.id}`, " ", in_shape(node.shape)]),
          ".",
        ),
      ],
    });
  const every = Math.max(1, Math.ceil(operations.length / 5));
  for (const node of operations.filter((_, i) => i % every === 0 || i === operations.length - 1))
    cards.push({
      title: `The operation ${node.op}`,
      view: { node, element: place_in(node), panel: "operation" },
      text: () => [
        element("p", {}, `${FORMULAS[node.op]?.element ?? node.formula}. With numbers:`),
        result_line(node, place_in(node)),
      ],
    });
  return cards;
}

// From the loss back to a weight.
function cards_of_backward(step) {
  const cards = [];
  const loss = first_node(step, "cross_entropy");
  const logits = loss && step.nodes[loss.inputs[0].node];
  if (loss && logits)
    cards.push({
      title: "The answer, and the loss",
      view: { node: loss, element: 0, panel: "operation" },
      text: () => {
        const targets = numbers(loss.settings.targets);
        // The first row that counts: a tagger leaves tokens out, a masked model all but the masks.
        const rows = logits.value_of.whole_rows();
        const [row, x] = rows.find(([row, x]) => targets[row] < x.length) ?? rows[0];
        const what = logits.value_of.height === page.data.sequences.length ? `text ${row}` : `token ${row}`;
        const largest = Math.max(...x);
        const sum = x.reduce((total, y) => total + Math.exp(y - largest), 0);
        const target = targets[row];
        const label = (i) => page.data.labels[i] ?? `class ${i}`;
        const best = [...x].indexOf(largest);
        const share = (i) => Math.exp(x[i] - largest) / sum;
        const said = [
          element(
            "p",
            {},
            `${what[0].toUpperCase()}${what.slice(1)} has ${x.length} logits, and the largest is that of “${label(best)}”: a share of `,
            bold(share(best)),
            " after the softmax.",
          ),
        ];
        if (target !== undefined && target < x.length)
          said.push(
            element(
              "p",
              {},
              `Right is “${label(target)}”, with the share `,
              bold(share(target)),
              `. Its −ln is the loss of ${what}: `,
              bold(-Math.log(share(target))),
              ". The mean over the step is ",
              bold(loss.value_of.at(0)),
              ".",
            ),
          );
        return said;
      },
    });
  const last = step.nodes
    .filter((node) => !node.leaf && node.backward_order !== null)
    .sort((a, b) => a.backward_order - b.backward_order);
  if (!last.length) {
    cards.push({
      title: "No way back",
      view: {},
      text: () => [element("p", {}, "This step has no loss: nothing went back. With a target, the gradients follow.")],
    });
    return cards;
  }
  const start = last[0];
  if (!(logits && logits.gradient_of))
    cards.push({
      title: "The gradient starts with 1",
      view: { node: start, panel: "values" },
      text: () => [
        element(
          "p",
          {},
          `∂loss/∂loss is 1. Backward goes from ${start.op} to what it read, the youngest operation first, and adds up where a value was read twice.`,
        ),
      ],
    });
  const weight = updated_weight(step) ?? weight_with_gradient(step);
  if (weight)
    cards.push({
      title: "The gradient comes to a weight",
      view: { node: weight.node, element: weight.index, panel: "operation" },
      text: () => [
        logits &&
          logits.gradient_of &&
          element(
            "p",
            {},
            "The loss falls if a right logit grows and a wrong one shrinks. The gradient of a logit is its share, less 1 where it is right, over the number of texts: for the first it is ",
            bold(logits.gradient_of.at(0)),
            ".",
          ),
        element(
          "p",
          {},
          `After ${last.length} rules backward knows how the loss changes with each weight. For one number of ${weight.node.title()}:`,
        ),
        gradient_of(weight.node, weight.index),
      ],
    });
  if (step.update && weight && weight.updated)
    cards.push({
      title: `The step: ${step.update.optimizer} changes one weight`,
      view: { node: weight.node, element: weight.index, panel: "values" },
      text: () => told_update(step.update, weight.updated),
    });
  return cards;
}

function updated_weight(step) {
  const updated = step.update?.weights[0];
  const node = updated && step.nodes.find((node) => node.leaf && node.module === updated.name);
  return node && { node, index: updated.index, updated };
}

const matrix_with_gradient = (step) =>
  step.nodes.findLast((node) => node.leaf && node.gradient_of && node.module && node.shape.length === 2);

function weight_with_gradient(step) {
  const node =
    matrix_with_gradient(step) ?? step.nodes.findLast((node) => node.leaf && node.gradient_of && node.consumers.length);
  return node && { node, index: place_in(node) };
}

// The optimiser's formula with the numbers of one weight.
function told_update(update, { name, before, gradient, state, settings, after }) {
  const set = Object.fromEntries(settings);
  const kept = Object.fromEntries(state);
  const g = gradient * update.scale;
  const said = [
    element(
      "p",
      {},
      `${name}: w = `,
      bold(before, 7),
      ", g = ",
      bold(gradient),
      update.scale !== 1 ? [", clipped to ", bold(g)] : "",
      ".",
    ),
  ];
  if ("exp_avg" in kept) {
    const [m, v] = [kept.exp_avg / (1 - set.beta1 ** set.step), kept.exp_avg_sq / (1 - set.beta2 ** set.step)];
    said.push(
      element(
        "p",
        {},
        `Running means of g and g², after step ${set.step}: m = `,
        bold(kept.exp_avg),
        ", v = ",
        bold(kept.exp_avg_sq),
        "; without their bias m̂ = ",
        bold(m),
        ", v̂ = ",
        bold(v),
        ".",
      ),
    );
    said.push(
      element(
        "p",
        {},
        `w ← w − ${short(set.lr)}·(m̂/(√v̂ + ${short(set.eps)}) + ${short(set.weight_decay)}·w) = `,
        bold(after, 7),
      ),
    );
  } else if ("momentum_buffer" in kept)
    said.push(
      element(
        "p",
        {},
        "With momentum, the step goes along ",
        bold(kept.momentum_buffer),
        `: w ← w − ${short(set.lr)}·that = `,
        bold(after, 7),
      ),
    );
  else said.push(element("p", {}, `w ← w − ${short(set.lr)}·g = `, bold(after, 7)));
  if (set.lr === 0)
    said.push(element("p", {}, "The rate of this step is 0, because a warm-up begins with 0: nothing changes yet."));
  else
    said.push(
      element("p", {}, "A change of ", bold(after - before), ". That is all of learning: many small steps like this."),
    );
  return said;
}

// The card on the page. `number` is the card to begin with; null for none.
function open_tour(number) {
  by_id("start-tour").addEventListener("click", () => show_card(0));
  if (number !== null) show_card(number);
}

function show_card(number) {
  const place = by_id("tour");
  const cards = cards_of(state.step);
  if (number === null || number < 0) {
    state.card = null;
    place.hidden = true;
    by_id("start-tour").focus();
    return remember();
  }
  const at = Math.min(number, cards.length - 1);
  const card = cards[at];
  state.card = at;
  if (card.view.attention) Object.assign(state.attention, card.view.attention);
  if (card.view.panel) state.panel = card.view.panel;
  if (card.view.node) act.choose(card.view.node, card.view.element ?? null);
  place.hidden = false;
  const button = (text, to, attributes) =>
    element("button", { type: "button", ...attributes, onclick: () => show_card(to) }, text);
  const next =
    at + 1 < cards.length
      ? button("Next", at + 1, { class: "main", id: "tour-next" })
      : button("The end", null, { class: "main", id: "tour-next" });
  place.replaceChildren(
    element("h2", { id: "tour-title", tabindex: "-1" }, `${at + 1} of ${cards.length}: ${card.title}`),
    element("div", { "aria-live": "polite" }, card.text()),
    element("div", { class: "row" }, button("Back", at - 1, { disabled: at === 0 }), next, button("Close", null, {})),
  );
  if (window.innerWidth < 1000) by_id("panels").scrollIntoView({ block: "start" });
  by_id("tour-next").focus({ preventScroll: true });
}
