// The page's data: unpacking it, and reading numbers of tensors. The form is told in data.rs.

// The parsed data, once it is unpacked; `numbers` reads the lists beside the JSON.
const page = { data: null, single: null, double: null };

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const [length, singles, doubles] = new Uint32Array(buffer, 0, 3);
  const json = new TextDecoder().decode(new Uint8Array(buffer, 12, length));
  const planes = new Uint8Array(buffer, 12 + length, 4 * singles);
  const together = new Uint8Array(4 * singles);
  for (let plane = 0; plane < 4; plane++)
    for (let i = 0; i < singles; i++) together[4 * i + plane] = planes[plane * singles + i];
  page.single = new Float32Array(together.buffer);
  page.double = new Float64Array(buffer.slice(12 + length + 4 * singles));
  if (page.double.length !== doubles) throw new Error("the data is cut off");
  page.data = JSON.parse(json);
}

// The numbers of a list, wherever they lie.
function numbers(list) {
  if (Array.isArray(list)) return list.map((x) => (typeof x === "string" ? special(x) : x));
  if (!list) return [];
  const from = list.bytes === 4 ? page.single : page.double;
  return from.subarray(list.at, list.at + list.n);
}

const special = (text) => ({ NaN: NaN, inf: Infinity, "-inf": -Infinity })[text];

const count = (shape) => shape.reduce((product, size) => product * size, 1);

// A tensor of the trace: `at(flat)` is one of its numbers, undefined where the trace has none.
class Tensor {
  constructor(shape, dtype, summary) {
    Object.assign(this, { shape, dtype, summary, size: count(shape) });
    this.width = shape.length ? shape[shape.length - 1] : 1;
    this.height = this.width ? this.size / this.width : 0;
    this.values = numbers(summary.values);
    this.rows = new Map((summary.rows || []).map((row) => [row.row, numbers(row.values)]));
    this.whole = summary.stride === 1;
  }

  at(flat) {
    if (this.whole) return this.values[flat];
    const row = this.rows.get(Math.floor(flat / this.width));
    if (row) return row[flat % this.width];
    const stride = this.summary.stride;
    return stride && flat % stride === 0 ? this.values[flat / stride] : undefined;
  }

  // The numbers of the rows that are whole, as [row, numbers].
  whole_rows() {
    if (!this.whole) return [...this.rows];
    const row = (i) => [i, this.values.slice(i * this.width, (i + 1) * this.width)];
    return Array.from({ length: this.height }, (_, i) => row(i));
  }

  index(flat) {
    const index = [];
    for (const size of [...this.shape].reverse()) {
      index.unshift(flat % size);
      flat = Math.floor(flat / size);
    }
    return index;
  }

  flat(index) {
    return this.shape.reduce((flat, size, d) => flat * size + index[d], 0);
  }
}

// A node of a step: what the trace says of it, its tensors, its inputs and its consumers.
class TracedNode {
  constructor(step, traced) {
    Object.assign(this, traced);
    this.step = step;
    this.leaf = traced.family === "";
    this.value_of = new Tensor(traced.shape, traced.dtype, traced.value);
    this.gradient_of = traced.gradient && new Tensor(traced.shape, traced.dtype, traced.gradient);
    this.consumers = [];
  }

  // The inputs as {node, tensor, name}: `node` is null for a constant.
  operands() {
    return this.inputs.map((input, i) => {
      if (input.node !== undefined) {
        const node = this.step.nodes[input.node];
        return { node, tensor: node.value_of, name: node.title() };
      }
      const { shape, value } = input.constant;
      return { node: null, tensor: new Tensor(shape, this.dtype, value), name: `constant ${i + 1}` };
    });
  }

  title() {
    return this.leaf ? this.module || "leaf" : this.op;
  }

  where() {
    return this.leaf || !this.module ? "" : this.module;
  }

  bytes() {
    return this.value_of.size * bytes_of(this.dtype);
  }
}

const bytes_of = (dtype) => ({ f64: 8, f32: 4, u32: 4, f16: 2, bf16: 2, u8: 1 })[dtype] || 4;

// The steps with their nodes.
function steps_of(data) {
  return data.steps.map((traced) => {
    const step = { ...traced, nodes: [] };
    for (const node of traced.nodes) step.nodes.push(new TracedNode(step, node));
    for (const node of step.nodes)
      node.inputs.forEach((input, place) => {
        if (input.node !== undefined) step.nodes[input.node].consumers.push({ node, place });
      });
    return step;
  });
}
