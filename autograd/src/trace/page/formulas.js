// The formula of every operation by element: with symbols, and with the numbers of one element.
//
// An entry of FORMULAS has `element` (the formula; for the user's own operations there is none), `rule`
// (what backward does with the gradient g), and `at`, which writes the formula with the numbers of
// one element into a `Filled` and returns what it makes of them in f64.

const each = (element) => `y[i] = ${element}`;
const SAME = (node, flat) => [0, flat];

const FORMULAS = {
  neg: unary(
    "−x",
    "(−1)",
    "−",
    (x) => -x,
    () => -1,
  ),
  abs: unary("|x|", "sign(x)", "abs", Math.abs, Math.sign),
  sign: unary("sign(x)", "0", "sign", Math.sign, () => 0),
  exp: unary("eˣ", "y", "exp", Math.exp, Math.exp),
  log: unary("ln x", "1/x", "ln", Math.log, (x) => 1 / x),
  log1p: unary("ln(1 + x)", "1/(1 + x)", "ln1p", Math.log1p, (x) => 1 / (1 + x)),
  sqrt: unary("√x", "1/(2y)", "√", Math.sqrt, (x) => 0.5 / Math.sqrt(x)),
  rsqrt: unary(
    "1/√x",
    "(−y³/2)",
    "1/√",
    (x) => 1 / Math.sqrt(x),
    (x) => -0.5 * x ** -1.5,
  ),
  reciprocal: unary(
    "1/x",
    "(−y²)",
    "1/",
    (x) => 1 / x,
    (x) => -1 / (x * x),
  ),
  square: unary(
    "x²",
    "2x",
    "square",
    (x) => x * x,
    (x) => 2 * x,
  ),
  sin: unary("sin x", "cos x", "sin", Math.sin, Math.cos),
  cos: unary("cos x", "(−sin x)", "cos", Math.cos, (x) => -Math.sin(x)),
  tanh: unary("tanh x", "(1 − y²)", "tanh", Math.tanh, (x) => 1 - Math.tanh(x) ** 2),
  sigmoid: unary("1/(1 + e⁻ˣ)", "y·(1 − y)", "sigmoid", sigmoid, (x) => sigmoid(x) * (1 - sigmoid(x))),
  softplus: unary(
    "ln(1 + eˣ)",
    "sigmoid(x)",
    "softplus",
    (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    sigmoid,
  ),
  erf: unary("erf x", "2/√π·e^(−x²)", "erf", erf, (x) => (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x)),
  gelu: unary("x·Φ(x)", "(Φ(x) + x·φ(x))", "GELU", gelu, (x) => cdf(x) + x * density(x)),
  gelu_tanh: unary("0.5x·(1 + tanh(√(2/π)·(x + 0.044715x³)))", "its slope", "GELU", GATES.gelu_tanh, (x) => {
    const t = tanh_part(x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * INNER * (1 + 3 * 0.044715 * x * x);
  }),
  relu: unary(
    "max(x, 0)",
    "1 where x > 0, else 0",
    "relu",
    (x) => Math.max(x, 0),
    (x) => (x > 0 ? 1 : 0),
  ),
  silu: unary(
    "x·sigmoid(x)",
    "sigmoid(x)·(1 + x·(1 − sigmoid(x)))",
    "silu",
    GATES.silu,
    (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
  ),
  floor: unary("⌊x⌋", "0", "floor", Math.floor, () => 0),
  ceil: unary("⌈x⌉", "0", "ceil", Math.ceil, () => 0),
  round: unary("x rounded, halves to even", "0", "round", even, () => 0),
  affine: {
    element: each("mul·x[i] + add"),
    rule: ["dx = mul·g"],
    df: (x, { mul }) => mul,
    at(filled, node, flat) {
      const { mul, add } = node.settings;
      filled.text(`${short(mul, 9)}·`);
      const x = filled.input(0, flat);
      if (add) filled.text(` + ${short(add, 9)}`);
      return x * mul + add;
    },
  },
  powf: unary(
    "xᵉ for a constant e",
    "e·xᵉ⁻¹",
    "power",
    (x, { exponent }) => x ** exponent,
    (x, { exponent }) => exponent * x ** (exponent - 1),
  ),
  clamp: unary(
    "x limited to [min, max]",
    "1 inside the limits, else 0",
    "clamp",
    (x, { min, max }) => Math.min(Math.max(x, min ?? -Infinity), max ?? Infinity),
    (x, { min, max }) => (x > (min ?? -Infinity) && x < (max ?? Infinity) ? 1 : 0),
  ),

  add: binary("a + b", ["da = g", "db = g"], "+", (a, b) => a + b, [() => 1, () => 1]),
  sub: binary("a − b", ["da = g", "db = −g"], "−", (a, b) => a - b, [() => 1, () => -1]),
  mul: binary("a·b", ["da = g·b", "db = g·a"], "·", (a, b) => a * b, [(a, b) => b, (a) => a]),
  div: binary("a/b", ["da = g/b", "db = −g·y/b"], "/", (a, b) => a / b, [(a, b) => 1 / b, (a, b) => -a / (b * b)]),
  pow: binary("aᵇ", ["da = g·b·aᵇ⁻¹", "db = g·y·ln a"], "^", (a, b) => a ** b, [
    (a, b) => b * a ** (b - 1),
    (a, b) => (a === 0 ? 0 : a ** b * Math.log(a)),
  ]),
  maximum: binary(
    "the larger of a and b",
    ["da = g where a is larger, half where both are equal", "db likewise"],
    "or",
    Math.max,
    null,
  ),
  minimum: binary(
    "the smaller of a and b",
    ["da = g where a is smaller, half where both are equal", "db likewise"],
    "or",
    Math.min,
    null,
  ),
  where: {
    element: each("a[i] where the condition holds, else b[i]"),
    rule: ["da = g where the condition holds, else 0", "db = g where it does not, else 0"],
    at(filled, node, flat) {
      const { condition } = node.settings;
      const all = condition && numbers(condition);
      if (!all || all.length !== node.value_of.size) return filled.lacks("the page does not have the condition");
      const place = all[flat] ? 0 : 1;
      return filled.input(place, broadcast(node.value_of.index(flat), filled.operands[place].tensor));
    },
  },

  alias: view(each("x[i]"), "dx = g", SAME),
  to_dtype: view(each("x[i], rounded to another type"), "dx = g, in the type of x", SAME),
  reshape: view("y = x: the same elements under another shape", "dx = g under the old shape", SAME),
  permute: view("y[…] = x[…], dimensions in another order", "dx = g with the order undone", (node, flat, [x]) => {
    const index = node.value_of.index(flat);
    const from = new Array(index.length);
    node.settings.dims.forEach((dim, d) => (from[positive(dim, index.length)] = index[d]));
    return [0, x.tensor.flat(from)];
  }),
  narrow: view(
    "y[i] = x[start + i] along one dimension",
    "dx = g, with zeros where nothing was read",
    (node, flat, [x]) => {
      const index = node.value_of.index(flat);
      index[positive(node.settings.dim, index.length)] += node.settings.start;
      return [0, x.tensor.flat(index)];
    },
  ),
  broadcast_to: view("y[…] = x[…], repeated along dimensions", "dx = g summed over them", (node, flat, [x]) => [
    0,
    broadcast(node.value_of.index(flat), x.tensor),
  ]),
  cat: view(
    "the inputs one after another along one dimension",
    "each input gets its part of g",
    (node, flat, operands) => {
      const index = node.value_of.index(flat);
      const dim = positive(node.settings.dim, index.length);
      let place = 0;
      while (index[dim] >= operands[place].tensor.shape[dim]) index[dim] -= operands[place++].tensor.shape[dim];
      return [place, operands[place].tensor.flat(index)];
    },
  ),
  pad_zeros: view("y[i] = x[i − before], else 0", "dx = the part of g that x filled", (node, flat, [x]) => {
    const index = node.value_of.index(flat);
    const dim = positive(node.settings.dim, index.length);
    index[dim] -= node.settings.before;
    return [0, index[dim] < 0 || index[dim] >= x.tensor.shape[dim] ? null : x.tensor.flat(index)];
  }),
  flip: view("y[i] = x[n − 1 − i] along dimensions", "dx = g flipped back", (node, flat, [x]) => {
    const index = node.value_of.index(flat);
    for (const dim of node.settings.dims) {
      const d = positive(dim, index.length);
      index[d] = x.tensor.shape[d] - 1 - index[d];
    }
    return [0, x.tensor.flat(index)];
  }),
  index_select: view("y[i] = x[ids[i]] along one dimension", "dx[ids[i]] += g[i]", (node, flat, [x]) => {
    const index = node.value_of.index(flat);
    const dim = positive(node.settings.dim, index.length);
    index[dim] = numbers(node.settings.ids)[index[dim]];
    return [0, x.tensor.flat(index)];
  }),
  gather: view("y[i] = x[ids[i]], one id for each element", "dx[ids[i]] += g[i]", (node, flat, [x]) => {
    const index = node.value_of.index(flat);
    index[positive(node.settings.dim, index.length)] = numbers(node.settings.ids)[flat];
    return [0, x.tensor.flat(index)];
  }),
  embedding: {
    element: "y[i, c] = W[ids[i], c]",
    rule: ["dW[ids[i]] += g[i]"],
    at(filled, node, flat) {
      const [row, column] = row_of(node, flat);
      const id = node.settings.ids && numbers(node.settings.ids)[row];
      if (id === undefined) return filled.lacks("the page does not have the ids");
      const place = id * node.value_of.width + column;
      filled.text(`W[${id}, ${column}] = `);
      if (filled.operands[0].tensor.at(place) !== undefined) return filled.input(0, place);
      // The row that was looked up is the result.
      filled.lit[0].add(place);
      return filled.output(flat);
    },
  },
  index_add: {
    element: "y = x, with y[ids[i]] += source[i] along one dimension",
    rule: ["dx = g", "dsource[i] = g[ids[i]]"],
    at(filled, node, flat) {
      const index = node.value_of.index(flat);
      const dim = positive(node.settings.dim, index.length);
      const ids = [...numbers(node.settings.ids || [])];
      const source = filled.operands[1].tensor;
      const from = ids
        .map((id, i) => [id, i])
        .filter(([id]) => id === index[dim])
        .map(([, i]) => i);
      const x = filled.input(0, flat);
      if (!from.length) return x;
      filled.text(" + ");
      return x + filled.sum(from.length, (i, shown) => filled.input(1, source.flat(index.with(dim, from[i])), shown));
    },
  },
  scatter_add: {
    element: "y = x, with y[ids[i]] += source[i], one id for each element",
    rule: ["dx = g", "dsource[i] = g[ids[i]]"],
  },

  sum: reduction("y = Σx over dimensions", "dx = g, repeated", (all) => all.reduce((sum, x) => sum + x, 0), "Σ"),
  sum_to: reduction("y = Σx to a smaller shape", "dx = g, repeated", (all) => all.reduce((sum, x) => sum + x, 0), "Σ"),
  mean: reduction(
    "y = Σx/n over dimensions",
    "dx = g/n, repeated",
    (all) => all.reduce((sum, x) => sum + x, 0) / all.length,
    "mean",
  ),
  max: reduction(
    "y = the largest x over dimensions",
    "dx = g at the largest, shared by equal ones",
    (all) => all.reduce((a, b) => Math.max(a, b)),
    "max",
  ),
  min: reduction(
    "y = the smallest x over dimensions",
    "dx = g at the smallest, shared by equal ones",
    (all) => all.reduce((a, b) => Math.min(a, b)),
    "min",
  ),
  var: reduction(
    "y = Σ(x − mean)²/(n − correction) over dimensions",
    "dx = g·2(x − mean)/(n − correction)",
    (all, { correction }) => (moments(all)[1] * all.length) / Math.max(all.length - correction, 0),
    "var",
  ),
  logsumexp: reduction(
    "y = ln Σeˣ over dimensions",
    "dx = g·eˣ⁻ʸ",
    (all) => {
      const largest = all.reduce((a, b) => Math.max(a, b));
      return largest + Math.log(all.reduce((sum, x) => sum + Math.exp(x - largest), 0));
    },
    "logsumexp",
  ),

  matmul: {
    element: "y[i, j] = Σₖ a[i, k]·b[k, j]",
    rule: ["da[i, k] = Σⱼ g[i, j]·b[k, j]", "db[k, j] = Σᵢ a[i, k]·g[i, j]"],
    at(filled, node, flat) {
      const index = node.value_of.index(flat);
      const [a, b] = filled.operands.map((operand) => operand.tensor);
      const [i, j] = index.slice(-2);
      const batch = (tensor) => broadcast(index.slice(0, -2), { shape: tensor.shape.slice(0, -2) });
      const [k, n] = [a.width, b.width];
      const [at_a, at_b] = [(batch(a) * a.shape.at(-2) + i) * k, batch(b) * k * n + j];
      return filled.sum(k, (step, shown) => {
        const left = filled.input(0, at_a + step, shown);
        if (shown) filled.text("·");
        return left * filled.input(1, at_b + step * n, shown);
      });
    },
  },
  linear: {
    element: "y[i, j] = Σₖ x[i, k]·W[j, k] + b[j]",
    rule: ["dx[i, k] = Σⱼ g[i, j]·W[j, k]", "dW[j, k] = Σᵢ g[i, j]·x[i, k]", "db[j] = Σᵢ g[i, j]"],
    at(filled, node, flat) {
      return layer(filled, row_of(node, flat), 1, filled.operands[2] ? 2 : undefined);
    },
  },
  linear_gelu: {
    element: "y[i, j] = GELU(z), with z = Σₖ x[i, k]·W[j, k] + b[j]",
    rule: ["h = g·GELU′(z)", "dx[i, k] = Σⱼ h[i, j]·W[j, k]", "dW[j, k] = Σᵢ h[i, j]·x[i, k]", "db[j] = Σᵢ h[i, j]"],
    at(filled, node, flat) {
      filled.text("GELU(");
      const z = layer(filled, row_of(node, flat), 1, filled.operands[2] ? 2 : undefined);
      filled.text(" = ");
      filled.number(z);
      filled.text(")");
      return gelu(z);
    },
  },
  linear_cat: {
    element: "y[i, j] = Σₖ x[i, k]·W[j, k] + b[j], the weights W₁, W₂, … side by side",
    rule: ["dx[i, k] = Σⱼ g[i, j]·W[j, k]", "dW[j, k] = Σᵢ g[i, j]·x[i, k]", "db[j] = Σᵢ g[i, j]"],
    at(filled, node, flat) {
      const [row, all] = row_of(node, flat);
      const { weight, bias, column } = layer_of(filled.operands, all);
      return layer(filled, [row, column], weight, bias);
    },
  },
  softmax: softmax("y = eˣ/Σeˣ along one dimension", "dx = y·(g − Σg·y)", (x, sum) => Math.exp(x) / sum),
  log_softmax: softmax("y = x − ln Σeˣ along one dimension", "dx = g − eʸ·Σg", (x, sum) => x - Math.log(sum)),
  layer_norm: norm(
    "y = (x − mean)/√(var + ε)·w + b, mean and var of the row",
    [
      "n = (x − mean)/√(var + ε)",
      "dx = (h − mean(h) − n·mean(h·n))/√(var + ε), with h = g·w",
      "dw = Σ g·n",
      "db = Σ g",
    ],
    false,
    false,
  ),
  rms_norm: norm(
    "y = x/√(mean(x²) + ε)·w",
    ["n = x/√(mean(x²) + ε)", "dx = (h − n·mean(h·n))/√(mean(x²) + ε), with h = g·w", "dw = Σ g·n"],
    false,
    true,
  ),
  dropout_add_layer_norm: norm(
    "y = (z − mean)/√(var + ε)·w + b, with z = dropout(x) + r",
    [
      "n = (z − mean)/√(var + ε)",
      "dr = (h − mean(h) − n·mean(h·n))/√(var + ε), with h = g·w",
      "dx = dropout(dr), the same elements",
      "dw = Σ g·n",
      "db = Σ g",
    ],
    true,
    false,
  ),
  dropout_add_rms_norm: norm(
    "y = z/√(mean(z²) + ε)·w, with z = dropout(x) + r",
    [
      "n = z/√(mean(z²) + ε)",
      "dr = (h − n·mean(h·n))/√(mean(z²) + ε), with h = g·w",
      "dx = dropout(dr), the same elements",
      "dw = Σ g·n",
    ],
    true,
    true,
  ),
  cross_entropy: {
    element: "y = mean over rows of (ln Σⱼ e^x[i, j] − x[i, target])",
    rule: ["dx[i, j] = g/n·(softmax(x[i])[j] − 1 where j is the target)"],
    at(filled, node, flat) {
      const { targets, reduction: kind, weighted, label_smoothing } = node.settings;
      if (weighted || label_smoothing)
        return filled.lacks("weights or label smoothing enter, which the page does not compute");
      if (!targets) return filled.lacks("the page does not have the targets");
      const width = filled.operands[0].tensor.width;
      const all = [...numbers(targets)].map((target, row) => [target, row]);
      const rows = (kind === "None" ? [all[flat]] : all).filter(([target]) => target < width);
      if (kind === "Mean") filled.text(`1/${rows.length}·(`);
      const sum = filled.sum(rows.length, (i, shown) => {
        const [target, row] = rows[i];
        const x = Array.from({ length: width }, (_, j) => filled.input(0, row * width + j, false));
        const largest = Math.max(...x);
        const log_sum = largest + Math.log(x.reduce((total, other) => total + Math.exp(other - largest), 0));
        if (shown) {
          filled.text("(");
          filled.number(log_sum);
          filled.text(" − ");
        }
        const chosen = filled.input(0, row * width + target, shown);
        if (shown) filled.text(")");
        return log_sum - chosen;
      });
      if (kind === "Mean") filled.text(")");
      return kind === "Mean" ? sum / rows.length : sum;
    },
  },
  dropout: {
    element: each("0 with probability p, else x[i]/(1 − p)"),
    rule: ["dx = g, zeroed and scaled in the same places"],
    at(filled, node, flat) {
      const y = filled.output(flat, false);
      if (y === 0) {
        filled.text("dropped: ");
        filled.input(0, flat);
        return 0;
      }
      const x = filled.input(0, flat);
      filled.text(`/(1 − ${node.settings.p})`);
      return x / (1 - node.settings.p);
    },
  },
  attention: attention(false),
  attention_qkvpacked: attention(true),
  rotary_embedding: {
    element: "pairs (a, b) of a head turn by the angle t of their position: (a·cos t − b·sin t, b·cos t + a·sin t)",
    rule: ["dx = g, turned back by the same angles"],
  },
  glu: {
    element: "y = f(a)·b of the halves a, b of the last dimension",
    rule: ["da = g·b·f′(a)", "db = g·f(a)"],
    at(filled, node, flat) {
      const [row, column] = row_of(node, flat);
      const width = node.value_of.width;
      const first = row * 2 * width + column;
      const { gate, gate_first } = node.settings;
      const [a, b] = gate_first ? [first, first + width] : [first + width, first];
      if (!GATES[gate]) return filled.lacks(`the page does not compute ${gate}`);
      filled.text(`${gate}(`);
      const gated = GATES[gate](filled.input(0, a));
      filled.text(")·");
      return gated * filled.input(0, b);
    },
  },
  checkpoint: {
    element: "a function that runs again in backward instead of keeping what it saves",
    rule: ["the function runs again, recorded, and the gradient goes back through that"],
  },
};

// The formula of an element with its numbers; `missing` says why not all are there.
function filled_at(node, flat) {
  const filled = new Filled(node);
  const formula = FORMULAS[node.op];
  filled.result = node.value_of.at(flat);
  if (!formula || !formula.at) filled.lacks("the page computes no single elements of this operation");
  else filled.value = formula.at(filled, node, flat);
  return filled;
}
