// The server's load as numbers and small pictures, from its metrics every two seconds. `page.js` starts it.
'use strict';

/** Names, and the numbers in words. A number that means nothing while nobody asks is `null`, shown as a dash. */
const TILES = [
  ['Requests a second', x => x.toFixed(1)],
  ['Tokens a second', x => Math.round(x).toLocaleString('en')],
  ['Requests in the queue', x => Math.round(x).toString()],
  ['Milliseconds a request', x => x.toFixed(1)],
];
const DASH = '–';
const EVERY = 2000;
const KEPT = 60;
const OWN = ['/metrics', '/', '/page.css', '/page.js', '/load.js', '/request.js', '/attention.js', '/describe', '/docs', '/docs.css', '/docs.js', '/openapi.json'];
const load = { before: null, series: TILES.map(() => []) };

/** The sums of the metrics that the page shows. */
function totals(text) {
  const sums = { at: performance.now(), requests: 0, tokens: 0, queue: 0, seconds: 0, timed: 0 };
  for (const line of text.split('\n')) {
    const [, name, labels = '', value] = line.match(/^(\w+)(?:\{(.*)\})? (\S+)$/) || [];
    if (name === 'gradus_requests_total' && !OWN.some(path => labels.includes(`route="${path}"`))) sums.requests += Number(value);
    if (name === 'gradus_tokens_total') sums.tokens += Number(value);
    if (name === 'gradus_queue' && labels.includes('what="requests"')) sums.queue += Number(value);
    if (name === 'gradus_phase_seconds_sum' && labels.includes('phase="total"')) sums.seconds += Number(value);
    if (name === 'gradus_phase_seconds_count' && labels.includes('phase="total"')) sums.timed += Number(value);
  }
  return sums;
}

async function poll() {
  try {
    if (!document.hidden) {
      const now = totals(await ask('metrics'));
      const { before } = load;
      load.before = now;
      if (before) {
        const span = (now.at - before.at) / 1000;
        const timed = now.timed - before.timed;
        const requests = now.requests - before.requests;
        const sample = [requests > 0 ? requests / span : null, timed > 0 ? (now.tokens - before.tokens) / span : null,
          now.queue, timed > 0 ? 1000 * (now.seconds - before.seconds) / timed : null];
        sample.forEach((x, i) => { load.series[i] = [...load.series[i], x === null ? null : Math.max(0, x)].slice(-KEPT); });
      }
      tiles();
    } else {
      load.before = null;
    }
  } catch (error) {
    $('load-note').textContent = `No load to show: ${error.message}`;
    if (error.code === 401) return;
  }
  setTimeout(poll, EVERY);
}

function tiles() {
  const svg = (name, attributes) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  $('tiles').replaceChildren(...TILES.map(([name, write], i) => {
    const series = load.series[i];
    const top = Math.max(...series, 1e-9);
    const x = k => KEPT - series.length + k;
    const points = series.map((value, k) => `L${x(k)} ${(19 - 18 * value / top).toFixed(2)}`).join('');
    const picture = svg('svg', { viewBox: `0 0 ${KEPT - 1} 20`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    if (series.length > 1) picture.append(svg('path', { d: `M${x(0)} 21${points}L${KEPT} 21Z` }));
    const last = series.at(-1) ?? null;
    return el('div', { className: 'tile' }, name, el('b', {}, last === null ? DASH : write(last)), picture);
  }));
}
