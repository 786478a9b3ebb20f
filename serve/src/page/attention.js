// The tokens of a text and what they attend to, as chips, as a heat map of one head, and as small pictures of all heads.
'use strict';

/** Fetches as much attention as the server sends at once: all of it, or one layer, or one head. */
async function attention(model, inputs, view) {
  const views = [view, { layer: state.layer }, { layer: state.layer, head: Math.max(0, state.head) }];
  for (const [i, wanted] of views.entries()) {
    try {
      const { path, body, answer } = await askTimed('attention', { model: model.name, inputs, ...wanted });
      return { ...answer, model, text: inputs, asked: { path, body } };
    } catch (error) {
      if (error.code !== 413 || i + 1 === views.length) throw error;
    }
  }
}

/** The rows of the chosen head, or the mean of all heads if none is chosen. Fetches them if they are missing. */
async function rows() {
  const { shown } = state;
  let { layers, heads } = shown;
  const head = state.head < 0 && heads.length === 1 ? heads[0] : state.head;
  if (!layers.includes(state.layer) || (head >= 0 && !heads.includes(head))) {
    Object.assign(shown, await attention(shown.model, shown.text, { layer: state.layer }));
    ({ layers, heads } = shown);
    if (head < 0 && heads.length === 1) return shown.attention[layers.indexOf(state.layer)][0];
  }
  const all = shown.attention[layers.indexOf(state.layer)];
  if (head >= 0) return all[heads.indexOf(head)];
  return all[0].map((row, i) => row.map((_, j) => all.reduce((sum, h) => sum + h[i][j], 0) / all.length));
}

function selectors(model) {
  const fill = (id, count, first) => $(id).replaceChildren(...first,
    ...Array.from({ length: count }, (_, i) => el('option', { value: i }, `${i + 1} of ${count}`)));
  fill('layer', model.layers, []);
  fill('head', model.heads, [el('option', { value: -1 }, 'all, their mean')]);
  $('layer').value = state.layer;
  $('head').value = state.head;
}

function tokens() {
  $('tokens-card').hidden = false;
  $('tokens').replaceChildren(...state.shown.tokens.map((token, i) => el('button', {
    type: 'button',
    className: `token${token.special ? ' special' : ''}${token.segment ? ' second' : ''}`,
    tabIndex: i === state.token ? 0 : -1,
    onclick: () => look(i),
    onmouseenter: () => look(i),
    onfocus: () => look(i),
  }, token.text, el('small', {}, token.id))));
  arrows($('tokens'), 0);
  overview();
}

/** Arrow keys move between the buttons of a toolbar that has `columns` buttons in a row (0: they flow). */
function arrows(bar, columns) {
  bar.onkeydown = event => {
    const buttons = [...bar.querySelectorAll('button')];
    const at = buttons.indexOf(document.activeElement);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns || 1, ArrowUp: -(columns || 1),
      Home: -at, End: buttons.length - 1 - at };
    const next = buttons[at + steps[event.key]];
    if (at < 0 || !(event.key in steps) || !next) return;
    event.preventDefault();
    buttons.forEach(b => { b.tabIndex = b === next ? 0 : -1; });
    next.focus();
  };
}

const quoted = token => `“${token.text}”`;

/** Shows what a token attends to, or what attends to it. */
function look(i) {
  const { shown, current } = state;
  if (!current) return;
  state.token = i;
  const from = $('direction').value === 'from';
  const values = from ? current.map(row => row[i]) : current[i];
  const [low, high] = [rgb('--heat-low'), rgb('--heat-high')];
  [...$('tokens').children].forEach((chip, j) => {
    const color = heat(values[j] / state.top, low, high);
    chip.style.setProperty('--chip', color.css);
    chip.style.setProperty('--chip-ink', inkOn(color.rgb));
    chip.setAttribute('aria-pressed', j === i);
    chip.tabIndex = j === i ? 0 : -1;
    chip.title = `${shown.tokens[j].text}: ${percent(values[j])}`;
  });
  const token = shown.tokens[i];
  const place = token.special ? 'special' : `characters ${token.start} to ${token.stop}${token.segment ? ' of the second text' : ''}`;
  const order = values.map((_, j) => j).sort((a, b) => values[b] - values[a]).slice(0, 3);
  const best = order.map(j => `${quoted(shown.tokens[j])} ${percent(values[j], 0)}`).join(', ');
  $('token-line').textContent = `${quoted(token)}, token ${i + 1} of ${shown.tokens.length}, id ${token.id}, ${place}, ` +
    (from ? `is attended to most by ${best}.` : `attends most to ${best}.`);
  heatmap();
}

/** Draws the parts of the page that depend on layer and head. */
async function draw() {
  try {
    state.current = await rows();
    state.top = topOf(state.current);
    const parts = state.shown.layers.length < state.shown.model.layers || state.shown.heads.length < state.shown.model.heads;
    const cut = state.shown.truncated ? `The text was cut to ${state.shown.tokens.length} tokens. ` : '';
    show('attention-note', cut + (parts ? 'The text is long: its attention is fetched layer by layer, or head by head.' : ''));
    [...$('overview').querySelectorAll('button')].forEach(thumb => {
      const chosen = Number(thumb.dataset.layer) === state.layer && Number(thumb.dataset.head) === state.head;
      thumb.setAttribute('aria-pressed', chosen);
    });
    look(Math.min(state.token, state.shown.tokens.length - 1));
  } catch (error) {
    show('attention-note', error.message);
  }
}

/** The chosen head with one row per token. */
function heatmap() {
  const { current, shown, token } = state;
  const n = current.length;
  const canvas = $('heat');
  const room = canvas.parentElement.clientWidth;
  const size = Math.max(1, Math.min(34, Math.floor((Math.min(room, 620) - 90) / n)));
  const labels = size >= 11;
  const margin = labels ? 90 : 0;
  const cell = labels ? size : Math.max(1, Math.min(34, Math.floor(Math.min(room, 620) / n)));
  const width = margin + cell * n;
  const scale = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: width * scale, height: width * scale });
  canvas.style.width = `${width}px`;
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  const [low, high] = [rgb('--heat-low'), rgb('--heat-high')];
  current.forEach((row, i) => row.forEach((value, j) => {
    context.fillStyle = heat(value / state.top, low, high).css;
    const gap = cell >= 8 ? 1 : 0;
    context.fillRect(margin + j * cell, margin + i * cell, cell - gap, cell - gap);
  }));
  const style = getComputedStyle(document.body);
  const across = $('direction').value === 'from';
  context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue('--accent');
  context.lineWidth = 2;
  if (across) context.strokeRect(margin + token * cell - 1, margin - 1, cell + 1, cell * n + 1);
  else context.strokeRect(margin - 1, margin + token * cell - 1, cell * n + 1, cell + 1);
  if (labels) {
    context.fillStyle = style.color;
    context.font = `${Math.min(13, cell)}px ui-monospace, monospace`;
    context.textBaseline = 'middle';
    shown.tokens.forEach((t, i) => {
      context.textAlign = 'right';
      context.fillText(fitted(context, t.text, margin - 8), margin - 6, margin + (i + 0.5) * cell);
      context.save();
      context.translate(margin + (i + 0.5) * cell, margin - 6);
      context.rotate(-Math.PI / 2);
      context.textAlign = 'left';
      context.fillText(fitted(context, t.text, margin - 8), 0, 0);
      context.restore();
    });
  }
  canvas.onmousemove = event => {
    const box = canvas.getBoundingClientRect();
    const [j, i] = [event.clientX - box.left, event.clientY - box.top].map(v => Math.floor((v - margin) / cell));
    if (i < 0 || j < 0 || i >= n || j >= n) return;
    $('cell-line').textContent = `${quoted(shown.tokens[i])} → ${quoted(shown.tokens[j])}: ${percent(current[i][j])}`;
  };
  canvas.onclick = event => {
    const box = canvas.getBoundingClientRect();
    const at = across ? event.clientX - box.left : event.clientY - box.top;
    const i = Math.floor((at - margin) / cell);
    if (i >= 0 && i < n) look(i);
  };
  legend(low, high);
}

function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let cut = text;
  while (cut && context.measureText(`${cut}…`).width > room) cut = cut.slice(0, -1);
  return `${cut}…`;
}

function legend(low, high) {
  $('scale-top').textContent = state.top < 1 ? `${percent(state.top)} and more` : '100 %';
  const canvas = $('scale');
  const context = canvas.getContext('2d');
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = heat(x / canvas.width, low, high).css;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

/** Small pictures of all heads of all layers. */
function overview() {
  const { shown } = state;
  const { layers, heads } = shown;
  const whole = layers.length === shown.model.layers && heads.length === shown.model.heads;
  $('overview-figure').hidden = !whole;
  if (!whole) return;
  const grid = $('overview');
  grid.style.gridTemplateColumns = `1.1rem repeat(${heads.length}, minmax(0, 1fr))`;
  const [low, high] = [rgb('--heat-low'), rgb('--heat-high')];
  const axis = text => el('span', { className: 'axis', 'aria-hidden': 'true' }, text);
  const thumb = (layer, head) => {
    const values = shown.attention[layer][head];
    const n = values.length;
    const canvas = el('canvas', { width: n, height: n });
    const context = canvas.getContext('2d');
    const image = context.createImageData(n, n);
    values.forEach((row, i) => row.forEach((value, j) => {
      const [r, g, b] = heat(value, low, high).rgb;
      image.data.set([r, g, b, 255], 4 * (i * n + j));
    }));
    context.putImageData(image, 0, 0);
    const button = el('button', { type: 'button', className: 'thumb', tabIndex: layer + head ? -1 : 0,
      title: `layer ${layer + 1}, head ${head + 1}`, 'aria-label': `layer ${layer + 1}, head ${head + 1}`,
      onclick: () => choose(layer, head) }, canvas);
    Object.assign(button.dataset, { layer, head });
    return button;
  };
  grid.replaceChildren(axis(''), ...heads.map(h => axis(h + 1)),
    ...layers.flatMap(l => [axis(l + 1), ...heads.map(h => thumb(l, h))]));
  arrows(grid, heads.length);
}

function choose(layer, head) {
  Object.assign(state, { layer, head });
  $('layer').value = layer;
  $('head').value = head;
  draw();
}
