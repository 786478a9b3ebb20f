// What the table of formulas is made of: a formula that is being filled with numbers, the places that
// an element comes from, and the kinds of operations that many entries share.

// A formula that is being filled with numbers.
class Filled {
  constructor(node) {
    this.node = node;
    this.operands = node.operands();
    this.parts = [];
    this.lit = this.operands.map(() => new Set());
    this.missing = null;
  }

  text(text) {
    this.parts.push(text);
    return this;
  }

  // A number that is no element of a tensor of the page.
  number(x) {
    this.parts.push({ x });
    return x;
  }

  // An element of an input; `shown` says whether it is written.
  input(place, flat, shown = true) {
    const x = this.operands[place].tensor.at(flat);
    this.lit[place].add(flat);
    if (x === undefined) this.lacks(`the page does not have all of ${this.operands[place].name}`);
    if (shown) this.parts.push({ x, input: place, flat });
    return x ?? NaN;
  }

  // An element of the operation's result.
  output(flat, shown = true) {
    const x = this.node.value_of.at(flat);
    if (x === undefined) this.lacks("the page does not have all of the result");
    if (shown) this.parts.push({ x, output: true, flat });
    return x ?? NaN;
  }

  // An element of the gradient of the operation's result.
  gradient(flat, shown = true) {
    const x = this.node.gradient_of ? this.node.gradient_of.at(flat) : undefined;
    if (x === undefined) this.lacks("the page does not have all of the gradient");
    if (shown) this.parts.push({ x, gradient: true, flat });
    return x ?? NaN;
  }

  // The sum of n terms, of which the first three and the last are written.
  sum(n, term) {
    let sum = 0;
    for (let k = 0; k < n; k++) {
      const shown = k < 3 || k === n - 1;
      if (shown && k > 0) this.text(k === n - 1 && n > 4 ? ` + … ${n - 4} more … + ` : " + ");
      sum += term(k, shown);
    }
    return sum;
  }

  lacks(why) {
    this.missing ??= why;
    return NaN;
  }
}

// The place in `tensor` that meets the element `index` of a larger shape.
function broadcast(index, tensor) {
  const more = index.length - tensor.shape.length;
  return tensor.shape.reduce((flat, size, d) => flat * size + (size === 1 ? 0 : index[more + d]), 0);
}

const positive = (dim, rank) => (dim < 0 ? dim + rank : dim);

// The places of the input that are reduced to the element `flat`.
function reduced(node, tensor, flat) {
  const given = node.settings.dims.map((dim) => positive(dim, tensor.shape.length));
  const dims = given.length ? given : tensor.shape.map((_, d) => d);
  const kept = tensor.shape.map((size, d) => (dims.includes(d) ? 1 : size));
  const at = new Array(kept.length);
  for (let d = kept.length - 1; d >= 0; d--) [at[d], flat] = [flat % kept[d], Math.floor(flat / kept[d])];
  let places = [0];
  tensor.shape.forEach((size, d) => {
    const range = dims.includes(d) ? Array.from({ length: size }, (_, i) => i) : [at[d]];
    places = places.flatMap((place) => range.map((i) => place * size + i));
  });
  return places;
}

// Where the places along `dim` of the slice with the element `flat` lie.
function along(tensor, dim, flat) {
  const d = positive(dim, tensor.shape.length);
  const inner = count(tensor.shape.slice(d + 1));
  const size = tensor.shape[d];
  const base = Math.floor(flat / (inner * size)) * inner * size + (flat % inner);
  return Array.from({ length: size }, (_, i) => base + i * inner);
}

function unary(element, rule, call, f, df) {
  return {
    element: `y = ${element}`,
    rule: [`dx = g·${rule}`],
    df,
    at(filled, node, flat) {
      filled.text(`${call}(`);
      const x = filled.input(0, flat);
      filled.text(")");
      return f(x, node.settings);
    },
  };
}

function binary(element, rule, sign, f, slopes) {
  return {
    element: `y = ${element}, broadcast`,
    rule,
    slopes,
    at(filled, node, flat) {
      const index = node.value_of.index(flat);
      const [a, b] = filled.operands.map((operand) => broadcast(index, operand.tensor));
      const left = filled.input(0, a);
      filled.text(` ${sign} `);
      return f(left, filled.input(1, b));
    },
  };
}

// The same element, found at another place of the input.
function view(element, rule, place) {
  return {
    element,
    rule: [rule],
    place,
    at(filled, node, flat) {
      const [operand, from] = place(node, flat, filled.operands);
      if (from === null) return filled.number(0);
      return filled.input(operand, from);
    },
  };
}

function row_of(node, flat) {
  const width = node.value_of.width;
  return [Math.floor(flat / width), flat % width];
}

function gelu(x) {
  return (x * (1 + erf(x / Math.SQRT2))) / 2;
}

// Abramowitz and Stegun 7.1.6 near 0, the continued fraction of 7.1.14 elsewhere.
function erf(x) {
  const size = Math.abs(x);
  if (Number.isNaN(x)) return NaN;
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let [term, sum] = [size, size];
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (2 * size * size) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * ((2 / Math.sqrt(Math.PI)) * Math.exp(-size * size) * sum);
  }
  let fraction = size;
  for (let n = 60; n > 0; n--) fraction = size + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / fraction);
}

const sigmoid = (x) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));
const cdf = (x) => (1 + erf(x / Math.SQRT2)) / 2;
const density = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
const INNER = Math.sqrt(2 / Math.PI);
const tanh_part = (x) => Math.tanh(INNER * (x + 0.044715 * x * x * x));
const even = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

const GATES = {
  gelu,
  gelu_tanh: (x) => 0.5 * x * (1 + tanh_part(x)),
  relu: (x) => Math.max(x, 0),
  silu: (x) => x * sigmoid(x),
  sigmoid,
  tanh: Math.tanh,
};

// The product of a row of x and a row of W.
function product(filled, [x, x_row], [w, w_row], k) {
  return filled.sum(k, (i, shown) => {
    const left = filled.input(x, x_row * k + i, shown);
    if (shown) filled.text("·");
    return left * filled.input(w, w_row * k + i, shown);
  });
}

// x·Wᵀ + b of one layer: the inputs' places, and the row of W.
function layer(filled, [row, column], weight, bias) {
  const k = filled.operands[0].tensor.width;
  let y = product(filled, [0, row], [weight, column], k);
  if (bias !== undefined) {
    filled.text(" + ");
    y += filled.input(bias, column);
  }
  return y;
}

// How many weights x·W₁ᵀ + b₁, x·W₂ᵀ + b₂, … has, and the one to which a column belongs.
function layer_of(operands, column) {
  const weights = operands.slice(1).filter((operand) => operand.tensor.shape.length === 2).length;
  for (let i = 0; i < weights; i++) {
    const size = operands[1 + i].tensor.shape[0];
    if (column < size) return { weight: 1 + i, bias: operands[1 + weights + i] ? 1 + weights + i : undefined, column };
    column -= size;
  }
  return null;
}

// Mean and variance of a row of numbers.
function moments(row) {
  const mean = row.reduce((sum, x) => sum + x, 0) / row.length;
  return [mean, row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / row.length];
}

// A norm over the last dimension: of input 0, or of the sum of inputs 0 and 1.
function norm(element, rule, summed, rms) {
  return {
    element,
    rule,
    at(filled, node, flat) {
      const [row, column] = row_of(node, flat);
      const width = node.value_of.width;
      const inner = node.settings.sum && new Tensor(node.shape, node.dtype, node.settings.sum);
      if (node.settings.p > 0 && !inner)
        return filled.lacks("dropout zeroed some elements, and the trace does not say which");
      const z = Array.from({ length: width }, (_, k) => {
        const at = row * width + k;
        const inputs = filled.input(0, at, false) + (summed ? filled.input(1, at, false) : 0);
        return inner ? (inner.at(at) ?? filled.lacks("the page does not have all of the sum")) : inputs;
      });
      const [mean, variance] = rms ? [0, z.reduce((sum, x) => sum + x * x, 0) / width] : moments(z);
      const first = summed ? 2 : 1;
      filled.text(rms ? "" : "(");
      if (summed) {
        // Dropout leaves an element out, or makes it larger.
        const kept = node.settings.p > 0 ? z[column] - filled.input(1, flat, false) : null;
        filled.text(kept === null ? "(" : "(dropout(");
        filled.input(0, flat);
        if (kept !== null) filled.text(Math.abs(kept) < 1e-6 * Math.abs(z[column]) ? ") = 0" : `) = ${short(kept)}`);
        filled.text(" + ");
        filled.input(1, flat);
        filled.text(")");
      } else filled.input(0, flat);
      if (!rms) {
        filled.text(" − ");
        filled.number(mean);
        filled.text(")");
      }
      filled.text("/√(");
      filled.number(variance);
      filled.text(` + ${short(node.settings.eps)})·`);
      const weight = filled.input(first, column);
      let y = ((z[column] - mean) / Math.sqrt(variance + node.settings.eps)) * weight;
      if (filled.operands[first + 1]) {
        filled.text(" + ");
        y += filled.input(first + 1, column);
      }
      return y;
    },
  };
}

function reduction(element, rule, combine, sign) {
  return {
    element,
    rule: [rule],
    at(filled, node, flat) {
      const tensor = filled.operands[0].tensor;
      const places = node.op === "sum_to" ? summed_to(node, tensor, flat) : reduced(node, tensor, flat);
      if (sign) filled.text(`${sign}(`);
      const all = [];
      filled.sum(places.length, (k, shown) => {
        all.push(filled.input(0, places[k], shown));
        return 0;
      });
      if (sign) filled.text(")");
      if (sign !== "Σ")
        filled.parts = filled.parts.map((part) =>
          part === " + " ? ", " : typeof part === "string" ? part.replace(" + …", ", …").replace("… + ", "…, ") : part,
        );
      return combine(all, node.settings);
    },
  };
}

function summed_to(node, tensor, flat) {
  const places = [];
  for (let i = 0; i < tensor.size; i++) if (broadcast(tensor.index(i), node.value_of) === flat) places.push(i);
  return places;
}

function softmax(element, rule, finish) {
  return {
    element,
    rule: [rule],
    at(filled, node, flat) {
      const places = along(node.value_of, node.settings.dim, flat);
      filled.text("x = ");
      const x = filled.input(0, flat);
      const all = places.map((place) => filled.input(0, place, false));
      const largest = Math.max(...all);
      const sum = all.reduce((total, other) => total + Math.exp(other - largest), 0);
      filled.text(`, Σeˣ over ${all.length} = `);
      filled.number(sum * Math.exp(largest));
      return finish(x - largest, sum);
    },
  };
}

function attention(packed) {
  return {
    element: "y[i, c] = Σⱼ p[i, j]·v[j, c], with p = softmax over j of (q[i]·k[j])·scale, in the head of c",
    rule: [
      "dv[j] = Σᵢ p[i, j]·g[i]",
      "dp[i, j] = g[i]·v[j]",
      "ds = p·(dp − Σⱼ dp·p)",
      "dq[i] = scale·Σⱼ ds[i, j]·k[j]",
      "dk[j] = scale·Σᵢ ds[i, j]·q[i]",
    ],
    at(filled, node, flat) {
      const kept = node.attention;
      if (!kept) return filled.lacks("the trace has no probabilities of it");
      const keeps = node.settings.mask && numbers(node.settings.mask);
      if (node.settings.p > 0 && !keeps)
        return filled.lacks("dropout zeroed some probabilities, and the trace does not say which");
      const [row, column] = row_of(node, flat);
      const head = Math.floor(column / kept.size);
      if (row >= kept.tokens || head >= kept.heads[0])
        return filled.lacks("the trace keeps the probabilities of the first sequence only");
      const [n, width] = [kept.tokens, kept.heads[0] * kept.size];
      const [p, v] = [numbers(kept.probabilities), numbers(kept.value)];
      const y = filled.sum(n, (j, shown) => {
        const at = (head * n + row) * n + j;
        const [share, value] = [p[at] * (keeps ? keeps[at] / (1 - node.settings.p) : 1), v[j * width + column]];
        const total = filled.operands[0].tensor.width;
        filled.lit[packed ? 0 : 2].add(packed ? j * total + (2 * total) / 3 + column : j * total + column);
        if (shown) {
          filled.number(share);
          filled.text("·");
          filled.number(value);
        }
        return share * value;
      });
      return y;
    },
  };
}
