// How the gradient of one element comes about: what each operation that read the element sends back,
// with the numbers of the page.

// What the operation `node` sends back to the element `flat` of its input `place`.
const BACK = {
  linear: (filled, node, place, flat) => linear_back(filled, node, place, flat, 0, node.value_of.width),
  linear_cat(filled, node, place, flat) {
    const operands = filled.operands;
    const weights = operands.slice(1).filter((operand) => operand.tensor.shape.length === 2).length;
    if (place === 0) return filled.lacks("too many products to write: Σ over all weights");
    const layer = place > weights ? place - weights : place;
    const before = operands.slice(1, layer).reduce((sum, operand) => sum + operand.tensor.shape[0], 0);
    return linear_back(filled, node, place > weights ? 2 : 1, flat, before, node.value_of.width);
  },
  matmul(filled, node, place, flat) {
    const [a, b] = filled.operands.map((operand) => operand.tensor);
    if (a.shape.length !== 2 || b.shape.length !== 2) return filled.lacks("the page writes this for matrices only");
    const [k, n] = [a.width, b.width];
    if (place === 0) {
      const [i, step] = [Math.floor(flat / k), flat % k];
      return products(filled, n, (j) => [i * n + j, 1, step * n + j]);
    }
    const [step, j] = [Math.floor(flat / n), flat % n];
    return products(filled, a.height, (i) => [i * n + j, 0, i * k + step]);
  },
  sum: (filled, node, place, flat) => spread(filled, node, flat, 1),
  mean: (filled, node, place, flat) => spread(filled, node, flat, node.value_of.size / filled.operands[0].tensor.size),
  sum_to(filled, node, place, flat) {
    return filled.gradient(broadcast(filled.operands[0].tensor.index(flat), node.value_of));
  },
  reshape: (filled, node, place, flat) => filled.gradient(flat),
  alias: (filled, node, place, flat) => filled.gradient(flat),
  to_dtype: (filled, node, place, flat) => filled.gradient(flat),
  softmax(filled, node, place, flat) {
    const places = along(node.value_of, node.settings.dim, flat);
    const y = filled.output(flat);
    filled.text("·(");
    const g = filled.gradient(flat);
    filled.text(" − ");
    const mean = places.reduce((sum, at) => sum + filled.output(at, false) * filled.gradient(at, false), 0);
    filled.number(mean);
    filled.text(")");
    return y * (g - mean);
  },
  cross_entropy(filled, node, place, flat) {
    const { targets, reduction, weighted, label_smoothing } = node.settings;
    if (!targets || weighted || label_smoothing) return filled.lacks("weights or label smoothing enter");
    const [row, column] = [Math.floor(flat / filled.operands[0].tensor.width), flat % filled.operands[0].tensor.width];
    const width = filled.operands[0].tensor.width;
    const all = [...numbers(targets)];
    const rows = all.filter((target) => target < width).length;
    const g = filled.gradient(reduction === "None" ? row : 0);
    const factor = reduction === "Mean" ? 1 / rows : 1;
    if (reduction === "Mean") filled.text(`/${rows}`);
    if (all[row] >= width) return 0;
    const x = Array.from({ length: width }, (_, j) => filled.input(0, row * width + j, false));
    const largest = Math.max(...x);
    const share = Math.exp(x[column] - largest) / x.reduce((sum, other) => sum + Math.exp(other - largest), 0);
    filled.text("·(");
    filled.number(share);
    filled.text(all[row] === column ? " − 1)" : " − 0)");
    return g * factor * (share - (all[row] === column ? 1 : 0));
  },
  embedding(filled, node, place, flat) {
    const width = node.value_of.width;
    const rows = [...numbers(node.settings.ids || [])].map((id, row) => [id, row]);
    const used = rows.filter(([id]) => id === Math.floor(flat / width)).map(([, row]) => row);
    if (!used.length) {
      filled.text("no token has this row: ");
      return filled.number(0);
    }
    return filled.sum(used.length, (i, shown) => filled.gradient(used[i] * width + (flat % width), shown));
  },
};

// The gradients of x·Wᵀ + b: of x (place 0), of W and of b, whose columns of g begin at `before`.
function linear_back(filled, node, place, flat, before, width) {
  const x = filled.operands[0].tensor;
  const rows = node.value_of.height;
  if (place === 2) return filled.sum(rows, (i, shown) => filled.gradient(i * width + before + flat, shown));
  if (place === 1) {
    const [j, k] = [Math.floor(flat / x.width), flat % x.width];
    return products(filled, rows, (i) => [i * width + before + j, 0, i * x.width + k]);
  }
  const [i, k] = [Math.floor(flat / x.width), flat % x.width];
  return products(filled, width, (j) => [i * width + j, 1, j * x.width + k]);
}

// Σ g[…]·input[…]: `terms` says for each term the place in g, the input, and the place in it.
function products(filled, n, terms) {
  return filled.sum(n, (i, shown) => {
    const [at, input, flat] = terms(i);
    const g = filled.gradient(at, shown);
    if (shown) filled.text("·");
    return g * filled.input(input, flat, shown);
  });
}

function spread(filled, node, flat, factor) {
  const tensor = filled.operands[0].tensor;
  const at = Array.from({ length: node.value_of.size }, (_, out) => out).find((out) =>
    reduced(node, tensor, out).includes(flat),
  );
  const g = filled.gradient(at);
  if (factor !== 1) filled.text(`·${short(factor)}`);
  return g * factor;
}

// Functions of one and of two elements, and those that only move elements.
function back_by_slope(filled, node, place, flat) {
  const formula = FORMULAS[node.op];
  if (formula.df) {
    const g = filled.gradient(flat);
    filled.text("·");
    const slope = formula.df(filled.input(0, flat, false), node.settings);
    filled.number(slope);
    return g * slope;
  }
  const read = outputs_of(node, place, flat, filled.operands);
  return filled.sum(read.length, (i, shown) => {
    const g = filled.gradient(read[i], shown);
    if (!formula.slopes) return g;
    const index = node.value_of.index(read[i]);
    const [a, b] = filled.operands.map((operand, at) => filled.input(at, broadcast(index, operand.tensor), false));
    const slope = formula.slopes[place](a, b);
    if (shown) {
      filled.text("·");
      filled.number(slope);
    }
    return g * slope;
  });
}

// The elements of the result that read the element `flat` of the input `place`.
function outputs_of(node, place, flat, operands) {
  const formula = FORMULAS[node.op];
  const reads = (out) => {
    if (formula.slopes) return broadcast(node.value_of.index(out), operands[place].tensor) === flat;
    const [from, at] = formula.place(node, out, operands);
    return from === place && at === flat;
  };
  return Array.from({ length: node.value_of.size }, (_, out) => out).filter(reads);
}

// What one consumer sends back to an element, with its numbers.
function sent_back(consumer, place, flat) {
  const filled = new Filled(consumer);
  const formula = FORMULAS[consumer.op];
  if (!consumer.gradient_of) filled.lacks("backward did not come to it");
  else if (BACK[consumer.op]) filled.value = BACK[consumer.op](filled, consumer, place, flat);
  else if (formula && (formula.df || formula.slopes || formula.place))
    filled.value = back_by_slope(filled, consumer, place, flat);
  else filled.lacks("the page writes no single elements of this rule");
  return filled;
}
