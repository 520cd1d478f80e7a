// Methods by tasks and sparsities: the accuracies, each of which opens its cell.

const accuracySort = { key: 'rank', order: 'asc' };

function accuracyTable(model) {
  const names = rankNames();
  const columns = [methodColumn(model)];
  for (const task of tasksShown(model)) {
    for (const sparsity of sparsitiesShown(model)) {
      const rowAt = (row) => model.byKey.get(keyOf(task, row.method, sparsity));
      columns.push({
        key: `${task} ${sparsity}`, label: sparsityLabel(sparsity), title: `Top-1 (%) on ${task} at ${sparsityLabel(sparsity)}`,
        group: task, groupCell: () => groupName(model, task), value: (row) => rowAt(row)?.top1, cell: (row) => accuracyCell(model, rowAt(row)),
      });
    }
  }
  columns.push({ key: 'rank', label: 'Average rank', title: '1 = best', first: 'asc', value: (row) => row[names.rank], cell: (row) => fixed(row[names.rank]) });
  if (!columns.some((column) => column.key === accuracySort.key)) Object.assign(accuracySort, { key: 'rank', order: 'asc' });
  return sortable(columns, methodsShown(model), {
    caption: 'Top-1 accuracy (%) by task and sparsity', sort: accuracySort, below: (row) => missing(row[names.rank]) && unrankedReason(row, names),
  });
}

function groupName(model, task) {
  const dense = model.dense.get(task);
  return dense && !missing(dense.top1)
    ? h('span', {}, `${task} `, h('button', {
        type: 'button', class: 'link', title: 'The dense network', 'data-key': `dense ${task}`,
        onclick: () => setState({ open: keyOf(task, 'dense', dense.sparsity) }),
      }, `dense ${percent(dense.top1)}`))
    : task;
}

/** The number of a cell with its marks, as a button that opens what stands behind it. */
function accuracyCell(model, row) {
  if (!row) return NONE;
  const { text, words } = accuracyMarks(row);
  return h('button', {
    type: 'button', class: `cell ${row.mark || ''} ${row.collapsed ? 'collapsed' : ''} ${row.state}`,
    'data-key': `cell ${keyOf(row.task, row.method, row.sparsity)}`,
    'aria-label': `${row.method}, ${row.task}, ${sparsityLabel(row.sparsity)}: ${words}`,
    onclick: () => setState({ open: keyOf(row.task, row.method, row.sparsity) }),
  }, text, !missing(row.top1_half) && h('small', {}, `± ${percent(row.top1_half)}`));
}

function accuracyMarks(row) {
  if (missing(row.top1)) return { text: 'failed', words: 'failed' };
  const few = row.state === 'failed' || row.state === 'incomplete';
  const text = (row.mark === 'tie' ? '≈ ' : '') + percent(row.top1) + (row.collapsed ? ' ↓' : '') + (few ? ` (${row.seeds})` : '') + (row.state === 'audit' ? ' †' : '');
  const words = [`${percent(row.top1)} percent`, !missing(row.top1_half) && `plus or minus ${percent(row.top1_half)}`,
    row.mark === 'best' && 'best', row.mark === 'tie' && 'tied with the best', row.collapsed > 0 && `${row.collapsed} collapsed`,
    few && `${row.seeds} seeds only, not ranked`, row.state === 'audit' && 'failed its audit, not ranked'];
  return { text, words: words.filter(Boolean).join(', ') };
}
