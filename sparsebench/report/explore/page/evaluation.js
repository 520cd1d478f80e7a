// Evaluation: accuracies by network and corruption; a row chooses the network, a column the corruption.

function evaluationContent() {
  const set = theSet();
  const arms = state.table === 'mean'
    ? data.table.filter((arm) => arm.task === set.task)
    : set.models.map((model) => ({ ...model, seeds: 1 }));
  const reference = arms.find((arm) => arm.method === 'dense');
  const values = (arm) => [arm.top1, arm.corrupted, ...arm.kinds];
  const signedTable = state.value === 'change' && reference;
  const shownOf = (arm) => values(arm).map((value, at) => (signedTable && !missing(value) && arm !== reference ? value - values(reference)[at] : value));
  const rows = arms.map((arm) => ({ arm, cells: arm === reference && signedTable ? [] : shownOf(arm) }));
  const [low, high] = extent(rows.flatMap((row) => row.cells));
  const names = ['clean', 'corrupted', ...data.kinds.map((_, kind) => kindName(kind))];
  const columns = names.map((label, at) => ({
    label, low, high, signed: signedTable, show: signedTable ? (v) => signed(v) : (v) => percent(v),
    head: at > 1 ? { 'data-kind': at - 2, 'aria-pressed': String(state.kind === String(at - 2)), 'data-key': `kind ${at - 2}` } : null,
    link: at > 1 ? { 'data-kind': at - 2 } : {},
  }));
  return [
    h('div', { class: 'controls' },
      choice('Show', [['accuracy', 'accuracy (%)'], ['change', 'points above the dense network']], state.value, (value) => setState({ value })),
      choice('Of', [['mean', 'all seeds, the mean'], ['one', `seed ${set.seed} alone`]], state.table, (table) => setState({ table }))),
    heatTable('Accuracy by network and corruption', 'Network', columns, rows.filter((row) => row.cells.length).map(({ arm, cells }) => {
      const model = set.models.find((one) => one.method === arm.method && one.sparsity === arm.sparsity);
      return {
        label: breakable(nameOf(arm)), cells, class: model === chosen() ? 'is-chosen' : '', row: model ? { 'data-model': model.id } : {},
        head: model ? { 'data-model': model.id, 'data-key': `arm ${model.id}`, 'aria-pressed': String(model === chosen()) } : null,
      };
    })),
  ];
}
