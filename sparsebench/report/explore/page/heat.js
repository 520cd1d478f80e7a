// Heat tables: numbers on grounds as strong as they are large; differences on two colours.

/**
 * @param rows [{label, head: attributes, cells: [value]}]
 * @param columns [{label, head: attributes, show(value), low, high, signed, better: -1 where less is better, flat: heading not turned}]
 */
function heatTable(caption, corner, columns, rows) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }, h('table', { class: 'heat' },
    h('caption', { class: 'hidden' }, caption),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'text' }, corner), columns.map((column) => h('th', { scope: 'col' }, headOf(column, column.flat ? '' : 'turned'))))),
    h('tbody', {}, rows.map((row) => h('tr', { class: row.class || null, ...row.row },
      h('th', { scope: 'row', class: 'text' }, headOf(row, '')),
      row.cells.map((value, at) => heatCell(value, columns[at], row)))))));
}

function headOf({ label, head }, kind) {
  const text = h('span', { class: kind }, label);
  return head ? h('button', { type: 'button', class: 'name', ...head }, text) : text;
}

function heatCell(value, column, row) {
  if (missing(value)) return h('td', {}, NONE);
  const [low, high] = [column.low ?? 0, column.high ?? 1];
  const link = { ...column.link, ...row.link };
  if (column.signed) {
    const strength = Math.min(1, Math.abs(value) / (Math.max(Math.abs(low), Math.abs(high)) || 1));
    return h('td', { class: value * (column.better ?? 1) < 0 ? 'down' : 'up', vars: { '--strength': `${Math.round(100 * strength)}%` }, ...link }, column.show(value));
  }
  const strength = Math.max(0, Math.min(1, (value - low) / (high - low || 1)));
  return h('td', { class: 'density', vars: { '--strength': `${Math.round(100 * strength)}%` }, ...link }, column.show(value));
}

/** The least and the largest of the known values. */
function extent(values) {
  const known = values.filter((value) => !missing(value) && Number.isFinite(value));
  return known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
}
