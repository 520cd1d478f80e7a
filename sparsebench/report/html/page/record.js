// One record: commands, audit, corruptions, layers, training loss, provenance, choices.

function recordDetails(model, record, open) {
  return h('details', { class: 'record', open }, h('summary', {}, `Seed ${record.seed} `, h('code', {}, record.id)),
    record.error && h('p', { class: 'error' }, record.error),
    record.unverified && h('p', { class: 'bad' }, 'Unverified: made elsewhere, without its code. Nobody here can compute it again.'),
    record.flags?.length > 0 && h('p', { class: 'bad' }, record.flags.join(', ')),
    h('h4', {}, 'Compute it again'),
    commandLine(`sparsebench rerun ${quoted(record.id)}${ownFiles(record).length ? ` --methods ${ownFiles(record).map(quoted).join(' ')}` : ''}`, 'from the record alone, and compare'),
    commandLine(cellCommand(model, record), 'as a cell of the board'),
    commandLine(`sparsebench show ${quoted(record.id)}`, 'the record as text'),
    h('p', { class: 'hint' }, 'The record: ', h('a', { href: record.path.split('/').map(encodeURIComponent).join('/') }, record.path)),
    auditPart(record),
    corruptionPart(record.corruptions),
    record.losses?.length > 1 && [h('h4', {}, 'Training loss'), lossPlot(record.losses, record.trained)],
    h('h4', {}, 'Provenance'),
    factTable({ created: record.created, ...record.provenance, training: `${short(record.epochs)} epochs (${short(record.own_epochs)} its own), ${metric(record.train_flops, 'FLOPs')}`,
      seconds: short(record.seconds), 'peak memory': missing(record.peak_memory_mb) ? null : `${Math.round(record.peak_memory_mb)} MB`,
      'weights kept': missing(record.kept) ? null : `${record.kept} of ${record.prunable}`, 'operations': missing(record.sparse) ? null : `${metric(record.sparse)} of ${metric(record.dense)}` }),
    h('h4', {}, 'Other numbers'),
    factTable(Object.fromEntries(Object.entries(record.metrics).map(([name, value]) => [name, missing(value) ? null : value]))),
  );
}

const runCommand = (model) => model.board.command || `sparsebench run ${quoted(model.board.name)}`;

/** Files of a method that does not ship, as its run named them. */
const ownFiles = (record) => (record.fingerprint.source ? [...new Set((record.provenance.command || '').match(/[^\s'"]+\.py(?=[\s'":]|$)/g) || ['my_method.py'])] : []);

const methodWords = (record) => (ownFiles(record).length ? ownFiles(record) : [record.method]).map(quoted).join(' ');

function cellCommand(model, record) {
  const sparsity = record.method === 'dense' ? '' : ` --sparsities ${record.sparsity}`;
  return `${runCommand(model)} --methods ${methodWords(record)} --tasks ${quoted(record.task)}${sparsity} --seeds ${record.seed}`;
}

function commandLine(text, about) {
  const button = h('button', { type: 'button', class: 'copy', onclick: () => copy(text, button) }, 'Copy');
  // A line breaks between words, not behind the hyphens of an option.
  const words = text.split(' ').flatMap((word, at) => [at ? ' ' : '', h('span', { class: 'word' }, word)]);
  return h('div', { class: 'command' }, about && h('span', { class: 'hint' }, about), h('div', {}, h('pre', { tabindex: '0' }, h('code', {}, words)), button));
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(button.previousElementSibling); // no clipboard for files: selected instead
    button.textContent = 'Selected';
  }
}

function auditPart(record) {
  if (!record.audit) return [h('h4', {}, 'Audit'), h('p', {}, record.passed ? 'Every rule passed.' : 'FAILED.', ' The rules are in the record.')];
  const passed = record.audit.filter(([, , ok]) => ok).length;
  return [
    h('h4', {}, `Audit: ${passed} of ${record.audit.length} rules hold`),
    h('ul', { class: 'audit' }, record.audit.map(([rule, name, ok, detail]) => h('li', { class: ok ? 'pass' : 'bad' },
      h('span', { class: 'sign', 'aria-hidden': 'true' }, ok ? '✓' : '✗'), h('span', {}, h('b', {}, `${missing(rule) ? '' : `${rule} `}${name}`), ok ? '' : ' FAILED', detail && h('small', {}, ` ${detail}`))))),
  ];
}

/** {set, n, kinds: {kind: [accuracy by severity]}} as a table. */
function corruptionPart(corruptions) {
  const kinds = Object.entries(corruptions?.kinds || {});
  if (!kinds.length) return null;
  const severities = Array.from({ length: Math.max(...kinds.map(([, values]) => values.length)) }, (_, at) => at);
  return [
    h('h4', {}, 'Top-1 (%) on corrupted images, by severity'),
    h('p', { class: 'hint' }, [corruptions.set && `set ${corruptions.set}`, !missing(corruptions.n) && `${corruptions.n} images shown`].filter(Boolean).join(', ')),
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Accuracy on corrupted images' }, h('table', { class: 'heat' },
      h('thead', {}, h('tr', {}, h('th', { class: 'text', scope: 'col' }, 'Kind'), severities.map((one) => h('th', { scope: 'col' }, String(one + 1))))),
      h('tbody', {}, kinds.map(([kind, values]) => h('tr', {}, h('th', { class: 'text', scope: 'row' }, kind.replaceAll('_', ' ')),
        severities.map((one) => (typeof values[one] === 'number'
          ? h('td', { class: 'density', vars: { '--strength': `${Math.round(100 * values[one])}%` } }, percent(values[one]))
          : h('td', {}, NONE)))))))),
  ];
}

function lossPlot(losses, epochs) {
  const values = losses.map((loss) => (missing(loss) ? null : Math.log10(Math.max(loss, 1e-6))));
  const known = values.filter((value) => value !== null);
  if (!known.length) return null;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const x = (at) => 58 + (at / (losses.length - 1)) * 326;
  const y = (value) => 84 - ((value - low) / (high - low || 1)) * 72;
  const points = values.map((value, at) => (value === null ? null : `${x(at).toFixed(1)},${y(value).toFixed(1)}`)).filter(Boolean);
  return s('svg', { class: 'loss', viewBox: '0 0 400 108', role: 'img', 'aria-label': `Training loss by epoch, from ${short(losses[0])} to ${short(losses.at(-1))}` },
    [low, high].map((value) => s('text', { class: 'tick', x: 50, y: y(value) + 4, 'text-anchor': 'end' }, short(10 ** value))),
    s('text', { class: 'tick', x: 58, y: 103 }, 'epochs'), s('text', { class: 'tick', x: 384, y: 103, 'text-anchor': 'end' }, String(epochs)),
    s('polyline', { class: 'line', points: points.join(' ') }));
}

/** Names and values; nothing that is not there. */
function factTable(values) {
  const lines = Object.entries(values).filter(([, value]) => !missing(value) && value !== '' && !(typeof value === 'object' && !Object.keys(value).length));
  return h('dl', { class: 'lines' }, lines.map(([name, value]) => h('div', {}, h('dt', {}, name.replaceAll('_', ' ')), h('dd', {}, factText(value)))));
}

function factText(value) {
  if (Array.isArray(value)) return value.map(factText).join(', ');
  if (value && typeof value === 'object') return Object.entries(value).map(([name, one]) => `${name} ${factText(one)}`).join(', ');
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value);
}
