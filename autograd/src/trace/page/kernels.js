// The kernels that ran for an operation, with their sources: headers first.

function kernels_panel(state, act) {
  const { node } = state;
  const made = element("div");
  if (node.leaf) return element("p", {}, "No kernel made a leaf.");
  const list = (title, cost) =>
    element(
      "div",
      {},
      element("h3", {}, title),
      cost.kernels.length
        ? element(
            "ol",
            {},
            cost.kernels.map((kernel) => element("li", {}, element("code", {}, kernel))),
          )
        : element("p", { class: "note" }, cost.calls.length ? "Its calls launched no kernel." : "None ran."),
    );
  made.append(
    element("div", { class: "pair" }, list("Ran forward", node.forward), list("Ran backward", node.backward)),
  );
  const files = files_of(node);
  if (!files.length) return made;
  const chosen = files.find((file) => file.path === state.file) || files[0];
  const choice = element(
    "select",
    { "aria-label": "File" },
    files.map((file) =>
      element("option", { value: file.path, selected: file === chosen }, `${file.kind}: ${file.path}`),
    ),
  );
  choice.addEventListener("change", () => ((state.file = choice.value), act.redraw_panel()));
  made.append(element("div", { class: "row" }, element("span", { class: "soft" }, "source"), choice));
  const functions = called(node, chosen);
  const { pre, jumps } = source(chosen, functions);
  if (jumps.length)
    made.append(
      element(
        "div",
        { class: "row" },
        element("span", { class: "soft" }, "to"),
        element("button", { type: "button", onclick: () => (pre.scrollTop = 0) }, "the header"),
        jumps,
      ),
    );
  made.append(pre);
  return made;
}

// The sources that belong to a node: the kernels of its families, and its rule.
function files_of(node) {
  const { cpu, wgsl, rules } = page.data.sources;
  const families = [...new Set([...node.forward.families, ...node.backward.families])];
  const labels = [...node.forward.kernels, ...node.backward.kernels].map((kernel) => kernel.split(".")[0]);
  const files = [];
  const add = (kind, [path, text]) => files.some((file) => file.path === path) || files.push({ kind, path, text });
  const first = [...families].sort((a, b) => (b === node.family) - (a === node.family));
  const shaders = () => [...first, ...labels].forEach((family) => wgsl[family] && add("GPU", wgsl[family]));
  if (on_gpu(node)) shaders();
  for (const family of first) for (const file of (cpu[family] || []).slice(0, 1)) add("CPU", file);
  shaders();
  if (rules[node.family]) add("backward rule", rules[node.family]);
  const ran = [...node.forward.kernels, ...node.backward.kernels].join(" ").toLowerCase().replaceAll("-", "");
  const other = ([path]) => ["avx512", "avx2", "neon"].some((set) => path.endsWith(`${set}.rs`) && !ran.includes(set));
  for (const family of first) for (const file of (cpu[family] || []).slice(1)) if (!other(file)) add("CPU", file);
  return files;
}

// The functions of a file that ran. A variant of a shader is named by parts, `unary.gelu.forward.f32`: its
// entry point is one of them, and so is what it does to an element, `op_gelu`.
function called(node, file) {
  const kernels = [...node.forward.kernels, ...node.backward.kernels];
  if (file.kind === "backward rule") return [node.op];
  if (file.kind === "GPU") {
    const parts = new Set(
      kernels.filter((kernel) => !kernel.includes("::")).flatMap((kernel) => kernel.split(".").slice(1)),
    );
    return [...parts].filter((part) => /^[a-z_]\w*$/.test(part)).flatMap((part) => [part, `op_${part}`]);
  }
  const names = kernels.map((kernel) => kernel.split("::")[1]).filter(Boolean);
  return [...new Set(names.map((name) => name.split(",")[0]))];
}

function source(file, functions) {
  const pre = element("pre", { class: "source", tabindex: "0", "aria-label": file.path });
  const jumps = [];
  let header = true;
  file.text.split("\n").forEach((line, i) => {
    const comment = /^\s*\/\//.test(line);
    header &&= comment || line === "";
    const found = functions.find((name) => new RegExp(`\\bfn ${name}\\b`).test(line));
    const kind = header ? "header" : comment ? "comment" : found ? "ran" : null;
    const made = element("span", { class: kind }, line);
    if (found)
      jumps.push(
        element(
          "button",
          { type: "button", onclick: () => (pre.scrollTop = made.offsetTop - pre.offsetTop - 8) },
          `${found}, line ${i + 1}`,
        ),
      );
    pre.append(made, "\n");
  });
  return { pre, jumps };
}
