// A request of the page as curl and as JSON, how long it took, and a link to the page in this state.
'use strict';

const SHOWN = 100000;

/** A text quoted for a shell. */
const shellWord = text => `'${text.replaceAll("'", "'\\''")}'`;

/** The request as a command. A key appears as a variable, for people copy the command. */
function asCurl({ path, body }) {
  const key = sessionStorage.getItem(KEY) ? ' \\\n  -H "authorization: Bearer $KEY"' : '';
  return `curl ${shellWord(new URL(path, document.baseURI.split('#')[0]).href)}${key} \\\n` +
    `  -H 'content-type: application/json' \\\n  -d ${shellWord(JSON.stringify(body))}`;
}

/** JSON for people: lists of numbers are on one line. */
function asJson(value) {
  const text = JSON.stringify(value, null, 2).replace(/\[\s*(-?[\d.e+-]+(?:,\s*-?[\d.e+-]+)*)\s*\]/g,
    list => list.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']'));
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}\n… (${text.length.toLocaleString('en')} characters)` : text;
}

/** How long a request took, by the clock of the page and by the server's headers. */
function took({ took, reply }) {
  const of = name => reply.headers.get(`x-${name}`);
  const parts = [['total-time', 'in the server'], ['queue-time', 'waiting'], ['inference-time', 'computing']]
    .filter(([name]) => of(name) !== null).map(([name, what]) => `${of(name)} ms ${what}`);
  const tokens = of('compute-tokens');
  return `Answered in ${took.toFixed(took < 10 ? 1 : 0)} ms${parts.length ? ` (${parts.join(', ')})` : ''}` +
    `${tokens === null ? '' : `; ${tokens} tokens`}.`;
}

function copyButton(of, what) {
  const button = el('button', { type: 'button', className: 'plain' }, what);
  button.onclick = async () => {
    const text = of();
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      // A page without HTTPS may not write to the clipboard: show the text, to be copied by hand.
      const field = el('input', { value: text, readOnly: true, 'aria-label': what });
      button.replaceWith(field);
      field.select();
      return;
    }
    setTimeout(() => { button.textContent = what; }, 1500);
  };
  return button;
}

/** Shows a request in the element with this id. `link` makes the address of the page in this state. `attended` is the request
 *  for the attention, if there was one. */
function showRequest(id, asked, link, attended) {
  const block = (name, text) => el('section', {}, el('h3', {}, name), el('pre', { tabIndex: 0 }, text), copyButton(() => text, 'Copy'));
  const open = $(id).querySelector('details')?.open ?? false;
  $(id).replaceChildren(
    el('p', { className: 'note took' }, took(asked)),
    el('details', { className: 'request', open },
      el('summary', {}, 'As curl, as JSON'),
      block('As curl', asCurl(asked)),
      block(`As JSON: POST ${asked.path}`, asJson(asked.body)),
      block('The answer', asJson(asked.answer)),
      ...(attended ? [block('Tokens and attention, as curl', asCurl(attended))] : [])),
    el('div', { className: 'row' }, copyButton(link, 'Copy a link to this')),
  );
}

// ---- the state in the address

/** The state in the address, if there is one. A `#place` of the page is no state. */
function fromAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  return ['model', 'text', 'sentences'].some(name => said.get(name)) ? said : null;
}

/** The address of the page with this state. It is after `#`, which no server sees. */
function address(state) {
  const said = new URLSearchParams(Object.entries(state).filter(([, value]) => value !== '' && value != null));
  return `${location.href.split('#')[0]}#${said}`;
}
