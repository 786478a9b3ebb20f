// The page asks the server and shows the answers. All text goes in as text nodes, and nothing is parsed as HTML. Paths are
// relative, so the server may be behind a prefix.
'use strict';

const $ = id => document.getElementById(id);
const KEY = 'gradus-key';

/** An element with properties, classes and children. Strings become text nodes. */
function el(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith('aria-') || key === 'role' || key === 'for') made.setAttribute(key, value);
    else if (key.startsWith('--')) made.style.setProperty(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

const percent = (x, digits = 1) => `${(100 * x).toFixed(digits)} %`;
const show = (id, message) => { $(id).hidden = !message; $(id).textContent = message || ''; };

// ---- asking the server

/** Paths whose answers are no JSON. */
const TEXTS = new Set(['metrics', 'trace']);

class Refused extends Error {
  constructor(code, message) { super(message); this.code = code; }
}

/** Asks, and returns the request, the answer, and how long it took. */
async function askTimed(path, body) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const options = { headers, method: body === undefined ? 'GET' : 'POST' };
  if (body !== undefined) options.body = JSON.stringify(body);
  let reply;
  const start = performance.now();
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Refused(0, 'The server does not answer.');
  }
  const text = await reply.text();
  const took = performance.now() - start;
  if (reply.status === 401) {
    $('key-form').hidden = false;
    $('key').focus();
  }
  if (!reply.ok) {
    let said = text;
    try {
      const json = JSON.parse(text);
      said = json.error?.message ?? json.error ?? json.message ?? text;
    } catch { /* not JSON: as it is */ }
    throw new Refused(reply.status, String(said).slice(0, 500));
  }
  return { path, body, reply, took, answer: TEXTS.has(path) ? text : JSON.parse(text) };
}

const ask = async (path, body) => (await askTimed(path, body)).answer;

// ---- colours

/** The colour of a custom property as `[r, g, b]`. */
function rgb(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim().split(/\s+/).map(Number);
}

/** The share with the full colour in a picture of a head: 100 %, or in a long text, where all shares are small, the 99th percentile. */
function topOf(rows) {
  if (rows.length <= 32) return 1;
  const values = rows.flat().sort((a, b) => a - b);
  return Math.max(values[Math.floor(values.length * 0.99)], 1e-4);
}

/** A colour for a share from 0 to 1. Small shares differ visibly too, for the scale is a power of 0.6. */
function heat(x, low = rgb('--heat-low'), high = rgb('--heat-high')) {
  const t = Math.pow(Math.min(1, Math.max(0, x)), 0.6);
  const c = low.map((l, i) => Math.round(l + t * (high[i] - l)));
  return { css: `rgb(${c.join(' ')})`, rgb: c };
}

/** A text colour that is legible on a colour. */
function inkOn(c) {
  const [r, g, b] = c.map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? '#111' : '#fff';
}

// ---- the models

const state = { paired: false, turn: 0, models: [], shown: null, token: 0, layer: 0, head: -1, embedder: null };
const EXAMPLES = {
  'text-classification': 'How do I locate my card? It has not arrived yet.',
  'feature-extraction': 'The cat sat on the mat because it was tired.',
  'token-classification': 'Ada Lovelace wrote to Charles Babbage from London.',
  'fill-mask': 'The capital of France is [MASK].',
};
/** A classifier with a single label ranks texts by a query. */
const ranks = model => model.task === 'text-classification' && model.labels === 1;
const RANKED = ['It is on its way: cards take a week.', 'You can find its place in the app.', 'The exchange rate is fair.'].join('\n');
const TASKS = {
  'text-classification': m => (ranks(m) ? 'Ranks texts by how well they answer a query' : `Classifies into ${m.labels} labels`),
  'feature-extraction': m => `Embeds into ${m.hidden} dimensions`,
  'token-classification': m => `Labels words with ${m.labels} tags`,
  'fill-mask': m => `Fills ${m.mask || '[MASK]'} with words`,
};

const chosen = () => state.models.find(m => m.name === $('model').value);

async function start() {
  const described = await ask('describe');
  $('key-form').hidden = true;
  state.models = described.models;
  $('version').textContent = `Gradus ${described.version}`;
  $('model').replaceChildren(...state.models.map(m => el('option', { value: m.name }, `${m.name} (${m.task})`)));
  state.embedder = state.models.find(m => m.task === 'feature-extraction');
  if (state.embedder) $('compare-about').textContent = `Cosines of the embeddings of ${state.embedder.name}.`;
  $('compare').hidden = !state.embedder;
  $('trace').hidden = !described.traces;
  if (described.metrics) poll();
  else $('load-note').textContent = 'This server shows its load at a port of its own.';
  if (!state.models.length) return show('ask-error', 'No model is loaded.');
  const said = fromAddress();
  if (said) restore(said);
  picked();
  await run(false);
  if (said?.get('sentences')) await compare();
}

/** Restores the state of an address. */
function restore(said) {
  const model = state.models.find(m => m.name === said.get('model'));
  if (model) $('model').value = model.name;
  else if (said.get('model')) show('link-error', `The link is to the model ${said.get('model')}, which is not here.`);
  for (const id of ['text', 'second', 'sentences']) if (said.has(id)) $(id).value = said.get(id);
  state.paired = said.has('second');
  state.layer = Number(said.get('layer') ?? 0) || 0;
  state.head = Number(said.get('head') ?? -1);
}

/** The address of the page in its present state. */
const link = () => address({
  model: chosen()?.name,
  text: $('text').value,
  second: secondShown() ? $('second').value : '',
  layer: state.layer || '',
  head: state.head < 0 ? '' : state.head,
});
const secondShown = () => !$('second-part').hidden;

function picked() {
  const model = chosen();
  const text = $('text');
  if (!text.value || Object.values(EXAMPLES).some(e => e.replace('[MASK]', '') === text.value.replace(/\[MASK\]|<mask>/, ''))) {
    text.value = EXAMPLES[model.task].replace('[MASK]', model.mask || '[MASK]');
  }
  const rank = ranks(model);
  const pairs = model.task === 'text-classification';
  $('text-label').textContent = rank ? 'Query' : 'Text';
  $('second-label').textContent = rank ? 'Texts to rank, one a line' : 'Second text';
  $('second').rows = rank ? 5 : 2;
  $('second-part').hidden = !(rank || (pairs && state.paired));
  if (rank && !$('second').value.trim()) $('second').value = RANKED;
  if (!rank && $('second').value === RANKED) $('second').value = '';
  $('pair').hidden = !pairs || rank;
  $('pair').textContent = state.paired ? 'Without the second text' : 'Add a second text';
  $('pair').setAttribute('aria-expanded', state.paired);
  $('mask').hidden = !model.mask;
  $('mask').textContent = `Insert ${model.mask}`;
  $('about').textContent = `${TASKS[model.task](model)}. ${model.layers} layers, ${model.heads} heads, ` +
    `${model.vocabulary.toLocaleString('en')} words in its vocabulary, texts of ${model.max_length} tokens at most.`;
}

// ---- answers

function bar(share) {
  const fill = el('span', { className: 'fill' });
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return el('span', { className: 'track', 'aria-hidden': 'true' }, fill);
}

/** Labels with scores, best first. A row with `press` has a button as its label. `said` is the score in words, `share` its
 *  part of the bar. */
function bars(rows, most = 8) {
  const one = row => el('li', {},
    el('span', { className: 'name' }, row.press
      ? el('button', { type: 'button', className: 'plain', title: row.title ?? '', onclick: row.press }, row.label) : row.label),
    bar(row.share ?? row.score), el('span', { className: 'score' }, row.said ?? percent(row.score)));
  const list = el('ol', { className: 'bars' }, ...rows.slice(0, most).map(one));
  if (rows.length <= most) return list;
  const more = el('button', { type: 'button', className: 'plain', 'aria-expanded': 'false' }, `All ${rows.length}`);
  more.onclick = () => {
    const all = more.getAttribute('aria-expanded') === 'false';
    list.replaceChildren(...rows.slice(0, all ? rows.length : most).map(one));
    more.textContent = all ? `The first ${most}` : `All ${rows.length}`;
    more.setAttribute('aria-expanded', all);
  };
  return el('div', {}, list, el('div', { className: 'row' }, more));
}

/** Scores with their parts of a bar. Probabilities are such parts already; other numbers are scaled between the least and the largest. */
function scored(rows) {
  const scores = rows.map(row => row.score);
  const [least, most] = [Math.min(...scores), Math.max(...scores)];
  if (least >= 0 && most <= 1) return rows;
  return rows.map(row => ({ ...row, share: most > least ? (row.score - least) / (most - least) : 1, said: row.score.toFixed(3) }));
}

/** Texts by how well they answer the query. A pressed text shows its tokens and the query's. */
function ranking(ranks, texts) {
  const rows = ranks.map(rank => ({ label: texts[rank.index], score: rank.score, title: 'Show its tokens', press: () => attendTo(texts[rank.index]) }));
  return [bars(scored(rows)), el('p', { className: 'note' }, 'The best first. Press a text to see its tokens and the query’s below.')];
}

/** A vector as a strip with one hue for positive numbers and another for negative ones. */
function strip(vector) {
  const canvas = el('canvas', { className: 'strip', width: vector.length, height: 1, role: 'img',
    'aria-label': `The ${vector.length} numbers of the embedding as a strip of colours` });
  const most = Math.max(...vector.map(Math.abs));
  const [low, plus, minus] = ['--heat-low', '--heat-high', '--minus'].map(rgb);
  const context = canvas.getContext('2d');
  vector.forEach((x, i) => {
    context.fillStyle = heat(Math.abs(x) / most, low, x < 0 ? minus : plus).css;
    context.fillRect(i, 0, 1, 1);
  });
  return canvas;
}

/** The text with its labelled spans. Their places are characters, not UTF-16 units. */
function tagged(text, spans) {
  const characters = Array.from(text);
  const shown = el('p', { className: 'tagged' });
  let at = 0;
  for (const span of spans) {
    shown.append(characters.slice(at, span.start).join(''));
    shown.append(el('mark', {}, characters.slice(span.start, span.end).join(''),
      el('small', {}, `${span.entity_group} ${percent(span.score, 0)}`)));
    at = span.end;
  }
  shown.append(characters.slice(at).join(''));
  return shown;
}

const ANSWERS = {
  'text-classification': answer => [bars(scored(answer[0]))],
  'feature-extraction': answer => [
    strip(answer[0]),
    el('p', { className: 'note' }, `${answer[0].length} numbers, of length 1: ` +
      `${answer[0].slice(0, 6).map(x => x.toFixed(3)).join(', ')}, … Compare sentences below.`),
  ],
  'token-classification': (answer, text) => [
    tagged(text, answer),
    answer.length
      ? bars(answer.map(span => ({ label: `${span.word}: ${span.entity_group}`, score: span.score })), 40)
      : el('p', { className: 'note' }, 'No word has a label.'),
  ],
  'fill-mask': answer => {
    const masks = Array.isArray(answer[0]) ? answer : [answer];
    return masks.flatMap((fills, i) => [
      ...(masks.length > 1 ? [el('h3', {}, `Mask ${i + 1}`)] : []),
      bars(fills.map(f => ({ label: f.token_str, score: f.score, title: f.sequence, press: () => fill(f.sequence) }))),
      el('p', { className: 'note' }, 'Press a word to put it into the text.'),
    ]);
  },
};

/** Replaces a mask by a word, and asks again while there are other masks. */
function fill(sequence) {
  $('text').value = sequence;
  $('text').focus();
  if (sequence.includes(chosen().mask)) run();
}

/** Inserts a mask at the cursor, or instead of the selection. */
function mask() {
  const text = $('text');
  text.setRangeText(chosen().mask, text.selectionStart, text.selectionEnd, 'end');
  text.focus();
}

/** The question to the chosen model: path, body, how to view its answer, and whose tokens to show. */
function question(model) {
  const text = $('text').value;
  const second = secondShown() ? $('second').value : '';
  if (ranks(model)) {
    const texts = second.split('\n').map(s => s.trim()).filter(Boolean);
    if (!texts.length) throw new Refused(0, 'Give texts to rank, one a line.');
    if (!text) throw new Refused(0, 'Give a query.');
    return { path: 'rerank', body: { model: model.name, query: text, texts }, view: a => ranking(a, texts),
      attended: a => [text, texts[a[0].index]] };
  }
  return { path: `models/${encodeURIComponent(model.name)}`, body: { inputs: second ? { text, text_pair: second } : text },
    view: a => ANSWERS[model.task](a, text), attended: () => (second ? [text, second] : text) };
}

/** Shows the tokens of the query and of one of the ranked texts. */
async function attendTo(text) {
  const turn = ++state.turn;
  try {
    const shown = await attention(chosen(), [$('text').value, text], {});
    if (turn !== state.turn) return;
    await attend(shown);
    $('tokens-card').scrollIntoView({ block: 'start' });
  } catch (error) {
    show('ask-error', error.message);
  } finally {
    if (turn === state.turn) $('go').disabled = false;
  }
}

/** Shows tokens and attention. */
async function attend(shown) {
  const { model } = shown;
  state.shown = shown;
  state.token = Math.max(0, shown.tokens.findIndex(t => !t.special));
  state.layer = Math.min(state.layer, model.layers - 1);
  state.head = Math.min(state.head, model.heads - 1);
  selectors(model);
  tokens();
  await draw();
}

/** Asks the chosen model. With `kept`, the address changes to the shown state. */
async function run(kept = true) {
  const model = chosen();
  if (!model) return;
  // A new question makes the earlier answer useless.
  const turn = ++state.turn;
  $('go').disabled = true;
  show('ask-error', '');
  try {
    const { path, body, view, attended } = question(model);
    const asked = await askTimed(path, body);
    const shown = await attention(model, attended(asked.answer), {});
    if (turn !== state.turn) return;
    $('answer').replaceChildren(...view(asked.answer));
    showRequest('request', asked, link, shown.asked);
    if (kept) history.replaceState(null, '', link());
    await attend(shown);
  } catch (error) {
    if (turn !== state.turn) return;
    $('answer').replaceChildren();
    $('request').replaceChildren();
    $('tokens-card').hidden = true;
    show('ask-error', error.message);
  } finally {
    if (turn === state.turn) $('go').disabled = false;
  }
}

// ---- tracing

/** Saves a page that shows the text's way through the model. A classifier's best label is the target of its gradients. */
async function saveTrace() {
  const model = chosen();
  $('trace').disabled = true;
  show('ask-error', '');
  try {
    const inputs = secondShown() && !ranks(model) ? [$('text').value, $('second').value] : $('text').value;
    const body = { model: model.name, inputs };
    if (model.task === 'text-classification' && !ranks(model)) {
      const best = $('answer').querySelector('.bars .name')?.textContent;
      if (best) body.target = best;
    }
    const html = await ask('trace', body);
    const file = URL.createObjectURL(new Blob([html], { type: 'text/html' }));
    el('a', { href: file, download: `trace-${model.name.replaceAll('/', '-')}.html` }).click();
    setTimeout(() => URL.revokeObjectURL(file), 10000);
  } catch (error) {
    show('ask-error', error.message);
  } finally {
    $('trace').disabled = false;
  }
}

// ---- comparing

async function compare() {
  const sentences = $('sentences').value.split('\n').map(s => s.trim()).filter(Boolean);
  show('compare-error', '');
  try {
    if (sentences.length < 2) throw new Refused(0, 'Give two sentences or more, one a line.');
    if (sentences.length > 40) throw new Refused(0, `These are ${sentences.length} sentences; at most 40 are shown.`);
    const asked = await askTimed('embed', { model: state.embedder.name, inputs: sentences, normalize: true });
    const vectors = asked.answer;
    const cosines = vectors.map(a => vectors.map(b => a.reduce((sum, x, i) => sum + x * b[i], 0)));
    matrix(sentences, cosines);
    showRequest('compare-request', asked, () => address({ sentences: sentences.join('\n') }));
  } catch (error) {
    $('matrix').hidden = true;
    $('alike').textContent = '';
    $('compare-request').replaceChildren();
    show('compare-error', error.message);
  }
}

function matrix(sentences, cosines) {
  const [low, high] = [rgb('--heat-low'), rgb('--heat-high')];
  const cell = (value, i, j) => {
    const color = heat(Math.pow(Math.max(0, value), 1.5), low, high);
    return el('td', { '--cell': color.css, '--cell-ink': inkOn(color.rgb), title: `${i + 1} and ${j + 1}: ${value.toFixed(4)}` },
      value.toFixed(2));
  };
  $('matrix').replaceChildren(el('table', { className: 'matrix' },
    el('thead', {}, el('tr', {}, el('td'), ...sentences.map((_, j) => el('th', { scope: 'col' }, j + 1)))),
    el('tbody', {}, ...cosines.map((row, i) => el('tr', {},
      el('th', { scope: 'row' }, `${i + 1}. ${sentences[i]}`), ...row.map((value, j) => cell(value, i, j)))))));
  $('matrix').hidden = false;
  const pairs = cosines.flatMap((row, i) => row.slice(0, i).map((value, j) => ({ i, j, value })));
  const best = pairs.reduce((a, b) => (b.value > a.value ? b : a));
  $('alike').textContent = `Most alike: ${best.j + 1} and ${best.i + 1}, with ${best.value.toFixed(3)}.`;
}

// ---- events

$('ask').addEventListener('submit', event => { event.preventDefault(); run(); });
for (const id of ['text', 'second']) {
  $(id).addEventListener('keydown', event => {
    // Where each line is a text, Enter begins a new line.
    const lines = id === 'second' && ranks(chosen());
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && !lines) { event.preventDefault(); run(); }
  });
}
$('mask').addEventListener('click', mask);
$('trace').addEventListener('click', saveTrace);
$('pair').addEventListener('click', () => {
  state.paired = !state.paired;
  picked();
  if (state.paired) $('second').focus(); else run();
});
addEventListener('hashchange', () => {
  const said = fromAddress();
  if (!said || !state.models.length) return;
  restore(said);
  picked();
  run(false);
  if (said.get('sentences')) compare();
});
$('model').addEventListener('change', () => { picked(); run(); });
$('layer').addEventListener('change', () => { state.layer = Number($('layer').value); draw(); });
$('head').addEventListener('change', () => { state.head = Number($('head').value); draw(); });
$('direction').addEventListener('change', () => look(state.token));
$('compare-form').addEventListener('submit', event => { event.preventDefault(); compare(); });
$('key-form').addEventListener('submit', event => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $('key').value);
  begin();
});
// Pictures have colours and sizes: draw them again when these change.
const redraw = () => { if (state.current) { overview(); draw(); } };
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
let width = innerWidth;
addEventListener('resize', () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });

function begin() {
  start().catch(error => show('ask-error', error.code === 401 ? '' : error.message));
}

$('sentences').value = ['My card has not arrived.', 'When will I get my new card?', 'The delivery of my bank card is late.',
  'What is the exchange rate?', 'How do you convert currencies?', 'A cat sleeps on the sofa.'].join('\n');
begin();
