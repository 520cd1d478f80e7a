// One row a method: average ranks with intervals, difference to the baseline, budget, cost.

/** Ranks as they are chosen: in one budget class or over all, at equal weights or at equal operations. */
function rankNames() {
  if (state.equal === 'flops') return { rank: 'flops_rank', low: 'flops_low', high: 'flops_high', mark: 'flops_mark' };
  if (state.budget.length === 1) {
    return { rank: 'rank_in_budget', low: 'low_in_budget', high: 'high_in_budget', mark: 'mark_in_budget' };
  }
  return { rank: 'rank', low: 'low', high: 'high', mark: 'mark' };
}

const rankingSort = { key: 'rank', order: 'asc' };

function rankingTable(model) {
  const rows = methodsShown(model);
  const has = (name) => rows.some((row) => !missing(row[name]) && row[name] !== '');
  const names = rankNames();
  const most = Math.max(1, ...model.summary.map((row) => row[names.high] ?? row[names.rank] ?? 0));
  const places = placesOf(model.summary.filter((row) => state.equal === 'flops' || state.budget.length !== 1 || lets('budget', row.budget)), names.rank);
  const within = new Map(model.budgets.flatMap(({ name }) => [...placesOf(model.summary.filter((row) => row.budget === name), 'rank_in_budget')]));
  const columns = [
    { key: 'place', label: '#', title: 'Place by average rank; ≈ is not told from the first', first: 'asc',
      value: (row) => row[names.rank], cell: (row) => placeText(row, places.get(row.method), names) },
    methodColumn(model),
    { key: 'rank', label: 'Average rank', title: '1 = best; the bar is the 95 % interval', first: 'asc', text: true,
      value: (row) => row[names.rank], cell: (row) => rankBar(row, names, most) },
    has('difference') && { key: 'difference', label: `vs ${has('baseline') ? 'baseline' : ''}`.trim(),
      title: 'Mean difference of top-1 to the baseline in points, 95 % interval', value: (row) => row.difference, cell: differenceCell },
    { key: 'drop', label: 'Drop', title: 'Top-1 lost against the dense network, in points, ± 95 % interval', first: 'asc',
      value: (row) => row.drop, cell: (row) => withHalf(row.drop, row.drop_half) },
    { key: 'epochs', label: 'Epochs', title: 'All training up to the result, over that of the dense network', first: 'asc',
      value: (row) => row.epochs_ratio, cell: (row) => times(row.epochs_ratio) },
    has('budget') && { key: 'budget', label: 'Budget', title: 'Budget class, and the place among its methods', first: 'asc', text: true,
      value: (row) => budgetPlace(model, row.budget) + (row.rank_in_budget ?? 999) / 1000,
      cell: (row) => [tag(row.budget, 'budget'), !missing(row.rank_in_budget) && [' ', placeText(row, within.get(row.method), { rank: 'rank_in_budget', mark: 'mark_in_budget' })]] },
    { key: 'structure', label: 'Removes', title: 'What is removed', text: true, value: (row) => row.structure, cell: (row) => tag(row.structure, 'structure') },
    has('seeds_first') && { key: 'seeds', label: 'Seeds to tell', title: 'Seeds a task needed to separate it from the first', first: 'asc',
      value: (row) => row.seeds_first, cell: (row) => fixed(row.seeds_first, 0) },
    has('front_sparsity') && { key: 'front', label: 'Pareto', title: 'Results that no other method beats in accuracy and sparsity at once',
      value: (row) => row.front_sparsity, cell: (row) => String(row.front_sparsity || NONE) },
    { key: 'collapsed', label: 'Collapsed', title: 'Cells at chance accuracy, with an emptied layer or numbers not finite', first: 'asc',
      value: (row) => row.collapsed, cell: (row) => h('span', { class: row.collapsed ? 'bad' : null }, `${row.collapsed}/${row.cells}${row.collapsed ? ' ↓' : ''}`) },
    model.summary.some((row) => row.cells !== row.asked) && { key: 'cells', label: 'Cells', title: 'Finished, of those the board asks for', value: (row) => row.cells,
      cell: (row) => `${row.cells}/${row.asked}` },
  ].filter(Boolean);
  return sortable(columns, rows, {
    caption: 'Methods by average rank', sort: rankingSort, below: (row) => missing(row[names.rank]) && unrankedReason(row, names),
  });
}

/** The first column of tables by method: its name, opening what is known of it. */
function methodColumn(model) {
  return { key: 'method', label: 'Method', text: true, head: true, value: (row) => row.method,
    cell: (row) => h('button', { type: 'button', class: 'name', 'data-key': `method ${row.method}`, onclick: () => openMethod(model, row.method) }, breakable(row.method), model.unverified.has(row.method) && h('span', { class: 'tag', title: 'Its records were made elsewhere, without its code' }, 'unverified')) };
}

/** Place of every ranked method: equal average ranks share one. */
function placesOf(rows, name) {
  const ranks = rows.map((row) => row[name]).filter((rank) => !missing(rank));
  return new Map(rows.map((row) => [row.method, missing(row[name]) ? null : 1 + ranks.filter((rank) => rank < row[name]).length]));
}

function placeText(row, place, names) {
  if (missing(place)) return NONE;
  const mark = row[names.mark];
  if (mark === 'tie') return h('span', { class: 'tie', title: 'Not told from the first' }, `≈ ${place}`);
  if (mark === 'few') return h('span', { title: 'Too few runs for any test to tell' }, `(${place})`);
  return h('span', { class: place === 1 ? 'best' : null }, String(place));
}

/** The rank as a dot on a line, its interval as a bar. */
function rankBar(row, names, most) {
  const rank = row[names.rank];
  if (missing(rank)) return h('span', { class: 'reason' }, unrankedReason(row, names));
  const at = (value) => `${(100 * (value - 1)) / Math.max(1, most - 1)}%`;
  const [low, high] = [row[names.low] ?? rank, row[names.high] ?? rank];
  const said = missing(row[names.low]) ? '' : `${low.toFixed(1)} to ${high.toFixed(1)}`;
  return h('span', { class: 'rank', title: said && `95 % interval ${said}` },
    h('span', { class: 'value' }, rank.toFixed(2)),
    h('span', { class: 'interval', 'aria-hidden': 'true', vars: { '--low': at(Math.max(1, low)), '--high': at(Math.min(most, high)), '--at': at(rank) } },
      h('i', { class: 'range' }), h('i', { class: 'dot' })),
    said && h('span', { class: 'hidden' }, `, 95 % interval ${said}`));
}

const VERDICTS = { better: 'better', worse: 'worse', tie: 'tie', few: 'too few runs to tell' };

function differenceCell(row) {
  if (missing(row.difference)) return row.baseline ? NONE : h('span', { class: 'reason' }, 'baseline');
  const between = missing(row.difference_low) ? '' : `${signed(row.difference_low)} to ${signed(row.difference_high)}`;
  const why = [`against ${row.baseline}: ${VERDICTS[row.verdict] || row.verdict}`, between && `95 % interval ${between}`,
    !missing(row.p_holm) && `p = ${short(row.p_holm)} after Holm`].filter(Boolean).join(', ');
  return h('span', { class: `difference ${row.verdict || ''}`, title: why }, row.verdict === 'tie' ? '≈ ' : '', signed(row.difference));
}

const withHalf = (value, half) =>
  missing(value) ? NONE : h('span', { class: 'number' }, percent(value), !missing(half) && h('small', {}, ` ± ${percent(half)}`));

const tag = (text, kind) => (missing(text) ? NONE : h('span', { class: `tag ${kind}` }, text));

const budgetPlace = (model, name) => {
  const place = model.budgets.findIndex((one) => one.name === name);
  return place < 0 ? null : place;
};

/** Why a method has no rank, in a few words. */
function unrankedReason(row, names) {
  if (names.rank === 'flops_rank' && !missing(row.rank)) return `covers ${row.flops_covered || 'too few levels'}`;
  if (row.audit_failed) return `audit FAIL ${row.audit_failed}`;
  if (row.failed) return `${row.failed} failed`;
  if (row.cells === row.asked && !(missing(row.only) && missing(row.tasks))) {
    const parts = [!missing(row.only) && `${Number((100 * row.only).toPrecision(4))} %`, !missing(row.tasks) && `${row.tasks} task${row.tasks > 1 ? 's' : ''}`];
    return `${parts.filter(Boolean).join(', ')} only`;
  }
  return `${row.cells}/${row.asked} cells`;
}
