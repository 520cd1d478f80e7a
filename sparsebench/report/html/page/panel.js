// The panel: what stands behind a number, seed by seed, or what is known of a method.

function panelOpens(model) {
  const panel = document.getElementById('panel');
  panel.addEventListener('close', () => state.open && setState({ open: '' }));
  panel.addEventListener('click', (event) => event.target === panel && panel.close());
  const show = () => {
    if (!state.open) return panel.open && panel.close();
    const content = contentOf(model, state.open);
    if (!content) return setState({ open: '' });
    panel.replaceChildren(...content.flat(3).filter(Boolean));
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
    return null;
  };
  onState((names) => names.includes('open') && show());
  show();
}

function openMethod(model, method) {
  setState({ open: JSON.stringify([method]) });
}

/** ["method"] or ["task", "method", sparsity], as text from the address. */
function contentOf(model, text) {
  let key;
  try { key = JSON.parse(text); } catch { return null; }
  if (!Array.isArray(key)) return null;
  if (key.length === 1) return model.byMethod.has(key[0]) ? methodContent(model, key[0]) : null;
  const row = model.byKey.get(text);
  return row ? cellContent(model, row) : null;
}

function panelHead(title, under) {
  return h('header', {}, h('div', {}, h('h2', { id: 'panel-title' }, title), h('p', { class: 'hint' }, under)),
    h('button', { type: 'button', class: 'close', 'aria-label': 'Close', onclick: () => document.getElementById('panel').close() }, '✕'));
}

function cellContent(model, row) {
  const found = model.recordsOf(row.task, row.method, row.sparsity);
  const records = found.map((at) => recordAt(model, at));
  return [
    panelHead(row.method, `${row.task} · ${row.method === 'dense' ? 'dense' : sparsityLabel(row.sparsity)} · ${records.length} record${records.length === 1 ? '' : 's'}`),
    h('dl', { class: 'facts' },
      fact('Top-1', withHalf(row.top1, row.top1_half)),
      fact('Rank', missing(row.rank) ? row.state : `${row.mark === 'tie' ? '≈ ' : ''}${row.rank}`),
      row.budget && fact('Budget', row.budget),
      fact('Speed-up', times(row.speedup)),
      fact('Epochs', short(row.epochs)),
      METRICS.filter((one) => one.key !== 'top1' && !missing(row[one.key])).map((one) => fact(one.short, one.show(row[one.key])))),
    h('p', { class: 'hint' }, explain(row)),
    h('h3', {}, 'Seed by seed'),
    seedTable(records),
    records.map((record) => recordDetails(model, record, records.length === 1)),
  ];
}

const fact = (name, value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));

function explain(row) {
  if (row.state === 'dense') return 'The dense network: the reference of every method.';
  if (row.state === 'audit') return `Not ranked: ${row.audit_failed} of its records fail the audit.`;
  if (row.state === 'failed') return `Not ranked: ${row.failed} of its cells did not run to their end.`;
  if (row.state === 'incomplete') return `Not ranked: ${row.seeds} seeds are finished, the board asks for more.`;
  if (row.mark === 'best') return 'The best mean of its task and sparsity.';
  if (row.mark === 'tie') return 'Not told from the best: the seed-paired difference has a 95 % interval that includes 0.';
  return 'Worse than the best: the seed-paired difference has a 95 % interval that excludes 0, or too few seeds are paired.';
}

function seedTable(records) {
  const metrics = METRICS.filter((one) => records.some((record) => !missing(record.metrics[one.key])));
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Seed by seed' }, h('table', {},
    h('thead', {}, h('tr', {}, ['Seed', ...metrics.map((one) => one.short), 'Achieved', 'Collapsed', 'Audit', 'Record'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, records.map((record) => h('tr', {}, h('th', { scope: 'row' }, String(record.seed)),
      metrics.map((one) => h('td', {}, one.key === 'top1' ? percent(record.metrics.top1, 2) : one.show(record.metrics[one.key]))),
      h('td', {}, percent(record.achieved, 2)),
      h('td', { class: record.collapsed ? 'bad' : null }, record.collapsed ? 'yes ↓' : 'no'),
      h('td', { class: record.ok && record.passed ? null : 'bad' }, !record.ok ? 'failed' : record.passed ? 'pass' : 'FAIL †'),
      h('td', {}, h('code', {}, record.id)))))));
}

function methodContent(model, method) {
  const row = model.byMethod.get(method);
  const at = model.records.method.indexOf(method);
  const { fingerprint } = recordAt(model, at);
  const rows = model.differences.filter((one) => one.method === method);
  return [
    panelHead(method, [row.structure, row.budget && `budget ${row.budget}`, `${row.cells} of ${row.asked} cells`].filter(Boolean).join(' · ')),
    h('dl', { class: 'facts' },
      fact('Average rank', missing(row.rank) ? unrankedReason(row, { rank: 'rank' }) : fixed(row.rank)),
      !missing(row.rank_in_budget) && fact(`Within ${row.budget}`, fixed(row.rank_in_budget)),
      !missing(row.flops_rank) && fact('At equal operations', fixed(row.flops_rank)),
      fact('Drop', withHalf(row.drop, row.drop_half)),
      !missing(row.seeds_first) && fact('Seeds to separate it from the first', fixed(row.seeds_first, 0))),
    rows.length > 0 && [h('h3', {}, 'Against the baseline ', h('code', {}, rows[0].baseline)), differenceTable(rows)],
    h('h3', {}, 'Its cells'),
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Its cells' }, h('table', {},
      h('thead', {}, h('tr', {}, h('th', { class: 'text', scope: 'col' }, 'Task'), model.sparsities.map((sparsity) => h('th', { scope: 'col' }, sparsityLabel(sparsity))))),
      h('tbody', {}, model.tasks.map((task) => h('tr', {}, h('th', { class: 'text', scope: 'row' }, task),
        model.sparsities.map((sparsity) => h('td', {}, accuracyCell(model, model.byKey.get(keyOf(task, method, sparsity)))))))))),
    h('h3', {}, 'The choices behind it'),
    factTable(fingerprint),
    h('h3', {}, 'Run it'),
    commandLine(`${runCommand(model)} --methods ${methodWords(recordAt(model, at))}`),
  ];
}

function differenceTable(rows) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Differences to the baseline' }, h('table', {},
    h('thead', {}, h('tr', {}, ['Sparsity', 'Points', '95 % interval', 'p (Holm)', 'Verdict', 'Seeds needed'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, rows.map((one) => h('tr', {}, h('th', { scope: 'row' }, missing(one.sparsity) ? 'all' : sparsityLabel(one.sparsity)),
      h('td', {}, signed(one.difference)), h('td', {}, missing(one.low) ? NONE : `${signed(one.low)} to ${signed(one.high)}`),
      h('td', {}, short(one.p_holm)), h('td', { class: `difference ${one.verdict}` }, VERDICTS[one.verdict] || one.verdict || NONE), h('td', {}, fixed(one.seeds_needed, 0)))))));
}
