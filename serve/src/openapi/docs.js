// Adds a form to each opened operation of `/docs`, to try it. Paths are relative, so the server may be behind a prefix. All
// text goes in as text nodes.
'use strict';

const KEY = 'gradus-key';
const $ = id => document.getElementById(id);

/** An element with properties and children. Strings become text nodes. */
function el(name, props = {}, ...children) {
  const made = Object.assign(document.createElement(name), props);
  made.append(...children);
  return made;
}

const headers = () => {
  const key = sessionStorage.getItem(KEY);
  return key ? { authorization: `Bearer ${key}` } : {};
};

/** The models, for the fields that take a name of one. */
let models = null;
async function names() {
  models ??= fetch('describe', { headers: headers() }).then(reply => (reply.ok ? reply.json() : { models: [] }));
  return (await models.catch(() => ({ models: [] }))).models;
}

/** A field of the path or the query. */
function field(row, id, value) {
  const name = row.dataset.field;
  const input = el('input', { id, value, name });
  input.dataset.in = row.dataset.in;
  return el('div', { className: 'grow' }, el('label', { htmlFor: id }, name), input);
}

let count = 0;
async function form(operation) {
  const { method, path } = operation.dataset;
  const known = await names();
  const rows = [...operation.querySelectorAll('tr[data-in=path], tr[data-in=query]')];
  const wanted = { model: taskOf(path, known), version: '1', label: 'stable' };
  const inputs = rows.map(row => field(row, `field-${++count}`, row.dataset.in === 'path' ? wanted[row.dataset.field] ?? '' : ''));
  const example = operation.querySelector('.example');
  const takes = method === 'POST' || method === 'PUT';
  const id = `field-${++count}`;
  const body = takes ? el('textarea', { id, rows: 5, spellcheck: false, value: pretty(example?.textContent ?? '') }) : null;
  const status = el('p', { className: 'line', role: 'status' });
  const shown = el('pre', { hidden: true });
  const made = el('form', { className: 'try' }, el('h3', {}, 'Try it'),
    ...(inputs.length ? [el('div', { className: 'row' }, ...inputs)] : []),
    ...(body ? [el('label', { htmlFor: id }, 'Body'), body] : []),
    el('div', { className: 'row' }, el('button', {}, `Send ${method}`)), status, shown);
  made.addEventListener('submit', event => { event.preventDefault(); send(made, method, path, body, status, shown); });
  operation.append(made);
}

/** A model for the path: the first classifier for `classify`, otherwise the first model. */
function taskOf(path, known) {
  const classifier = known.find(m => m.task === 'text-classification');
  return ((path.includes('classify') && classifier) || known[0])?.name ?? '';
}

function pretty(text) {
  try { return text && JSON.stringify(JSON.parse(text), null, 1); } catch { return text; }
}

async function send(made, method, path, body, status, shown) {
  if (method === 'DELETE' && !confirm('Unregister the model?')) return;
  const of = place => [...made.querySelectorAll('input')].filter(i => i.dataset.in === place);
  let url = path.slice(1) || './';
  for (const input of of('path')) url = url.replace(`{${input.name}}`, encodeURIComponent(input.value));
  const query = of('query').filter(i => i.value).map(i => `${encodeURIComponent(i.name)}=${encodeURIComponent(i.value)}`);
  if (query.length) url += `?${query.join('&')}`;
  const options = { method, headers: headers() };
  if (body?.value) Object.assign(options, { body: body.value, headers: { ...headers(), 'content-type': 'application/json' } });
  const start = performance.now();
  try {
    const reply = await fetch(url, options);
    const text = await reply.text();
    const took = (performance.now() - start).toFixed(1);
    const server = reply.headers.get('x-total-time');
    status.textContent = `${reply.status} ${reply.statusText} in ${took} ms${server === null ? '' : `, ${server} ms of it in the server`}`;
    const long = text.length > 20000;
    shown.textContent = long ? `${text.slice(0, 20000)}… (${text.length} characters)` : pretty(text);
    shown.hidden = !text;
    $('key-form').hidden = reply.status !== 401;
    if (reply.status === 401) $('key').focus();
  } catch {
    status.textContent = 'The server does not answer.';
    shown.hidden = true;
  }
}

$('key-form').addEventListener('submit', event => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $('key').value);
  models = null;
  $('key-form').hidden = true;
});
for (const operation of document.querySelectorAll('.operation')) {
  operation.addEventListener('toggle', () => { if (operation.open && !operation.querySelector('.try')) form(operation); });
}
