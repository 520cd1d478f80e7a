// Every number: one row a (task, method, sparsity), all that was measured.

const numbersSort = { key: 'place', order: 'asc' };
const MOST = 200;

function numbersTable(model) {
  const tasks = new Set(tasksShown(model));
  const sparsities = new Set(sparsitiesShown(model));
  const methods = new Set(methodsShown(model).map((row) => row.method));
  const rows = model.rows.filter((row) => tasks.has(row.task) && methods.has(row.method) && sparsities.has(row.sparsity));
  const has = (name) => rows.some((row) => !missing(row[name]));
  const name = state.budget.length === 1 ? 'rank_in_budget' : 'rank';
  const columns = [
    { key: 'place', label: 'Rank', title: 'By mean top-1 within task and sparsity', first: 'asc', value: (row) => row[name],
      cell: (row) => (missing(row[name]) ? (row.state === 'ranked' ? NONE : row.state) : (row.mark === 'tie' ? '≈ ' : '') + row[name]) },
    methodColumn(model),
    { key: 'task', label: 'Task', text: true, value: (row) => row.task, cell: (row) => row.task },
    { key: 'sparsity', label: 'Sparsity', first: 'asc', value: (row) => row.sparsity, cell: (row) => sparsityLabel(row.sparsity) },
    { key: 'top1', label: 'Top-1', title: 'Mean over seeds in %, ± 95 % interval', value: (row) => row.top1, cell: (row) => accuracyCell(model, row) },
    ...METRICS.filter((one) => one.key !== 'top1' && has(one.key)).map((one) => ({
      key: one.key, label: one.short, title: one.about, first: one.up ? 'desc' : 'asc', value: (row) => row[one.key], cell: (row) => one.show(row[one.key]),
    })),
    { key: 'achieved', label: 'Achieved', title: 'Sparsity that was met, in %', value: (row) => row.achieved, cell: (row) => percent(row.achieved, 2) },
    { key: 'speedup', label: 'Speed-up', title: 'Theoretical, by multiply-accumulates of one image', value: (row) => row.speedup, cell: (row) => times(row.speedup) },
    { key: 'epochs', label: 'Epochs', title: 'All training up to the result', first: 'asc', value: (row) => row.epochs, cell: (row) => short(row.epochs) },
    { key: 'flops', label: 'Train FLOPs', title: 'Of all training up to the result', first: 'asc', value: (row) => row.train_flops, cell: (row) => metric(row.train_flops) },
    { key: 'seeds', label: 'Seeds', value: (row) => row.seeds, cell: (row) => String(row.seeds) },
    { key: 'collapsed', label: 'Collapsed', first: 'asc', value: (row) => row.collapsed, cell: (row) => h('span', { class: row.collapsed ? 'bad' : null }, `${row.collapsed}/${row.seeds}`) },
    { key: 'audit', label: 'Audit', title: 'Cells that fail the audit', value: (row) => row.audit_failed,
      cell: (row) => (row.audit_failed ? h('span', { class: 'bad' }, `FAIL ${row.audit_failed}`) : row.seeds ? 'pass' : NONE) },
    has('budget') && { key: 'budget', label: 'Budget', text: true, value: (row) => budgetPlace(model, row.budget), cell: (row) => tag(row.budget, 'budget') },
    { key: 'structure', label: 'Removes', text: true, value: (row) => row.structure, cell: (row) => tag(row.structure, 'structure') },
  ].filter(Boolean);
  if (!columns.some((column) => column.key === numbersSort.key)) Object.assign(numbersSort, { key: 'place', order: 'asc' });
  return sortable(columns, rows, {
    caption: 'Every number, by task, method and sparsity', sort: numbersSort, below: (row) => row.state !== 'ranked', most: MOST,
  });
}

/** What is measured of a network; up: larger is better. */
const METRICS = [
  { key: 'top1', label: 'Top-1 accuracy (%)', short: 'Top-1', about: 'Top-1 accuracy in %', up: true, show: (value) => percent(value), percent: true },
  { key: 'corrupted', label: 'Top-1 on corrupted images (%)', short: 'Corrupted', about: 'Mean top-1 over kinds and severities of corruption, in %', up: true, show: (value) => percent(value), percent: true },
  { key: 'worst_class', label: 'Worst class (%)', short: 'Worst class', about: 'Accuracy of the worst class in %', up: true, show: (value) => percent(value), percent: true },
  { key: 'ece', label: 'Calibration error, ECE (%)', short: 'ECE', about: 'Expected calibration error in %', show: (value) => percent(value), percent: true },
  { key: 'nll', label: 'Negative log-likelihood', short: 'NLL', about: 'Negative log-likelihood in nats', show: (value) => fixed(value, 3) },
  { key: 'dead_static', label: 'Statically dead neurons (%)', short: 'Dead static', about: 'Neurons without any weight left, in %', show: (value) => percent(value), percent: true },
  { key: 'dead_dynamic_alive', label: 'Dynamically dead, of the alive (%)', short: 'Dead dynamic', about: 'Zero outputs of neurons that are not statically dead, in %', show: (value) => percent(value), percent: true },
  { key: 'cev_s1', label: 'CEV against dense', short: 'CEV', about: 'Combined error variance against the dense network, smoothed', show: (value) => short(value) },
  { key: 'sde_s1', label: 'SDE against dense', short: 'SDE', about: 'Symmetric distance error against the dense network, smoothed', show: (value) => short(value) },
];
