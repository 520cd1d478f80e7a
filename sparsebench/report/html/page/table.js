// A table that sorts: a button in every heading, aria-sort, and what is not ranked below a line.

/**
 * @param columns [{key, label, title, value(row), cell(row), text, first, group}]
 *   value: what is sorted by (null goes last); cell: what is shown; text: left-aligned; first: "asc" or "desc", the
 *   order of the first click; group: heading above neighbouring columns, shown as groupCell().
 * @param options {caption, sort: {key, order}, below(row): reason or "", most}
 */
function sortable(columns, rows, options) {
  const sort = options.sort;
  const place = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': options.caption });
  const draw = () => redraw(place, sortedTable(columns, rows, options, (key) => {
    const column = columns.find((one) => one.key === key);
    const first = column.first || (column.text ? 'asc' : 'desc');
    const other = first === 'asc' ? 'desc' : 'asc';
    sort.order = sort.key === key && sort.order === first ? other : first;
    sort.key = key;
    draw();
  }, draw));
  draw();
  return place;
}

function sortedTable(columns, rows, options, onsort, again) {
  const { sort } = options;
  const column = columns.find((one) => one.key === sort.key) || columns[0];
  const above = inOrder(rows.filter((row) => !options.below?.(row)), column, sort.order);
  const below = inOrder(rows.filter((row) => options.below?.(row)), column, sort.order);
  const most = options.most ?? Infinity;
  const line = (row) => h('tr', {}, columns.map((one) => h(one.head ? 'th' : 'td', {
    class: one.text ? 'text' : null, scope: one.head ? 'row' : null,
  }, one.cell(row))));
  const shown = above.slice(0, most);
  const rest = below.slice(0, Math.max(0, most - above.length));
  const left = above.length + below.length - shown.length - rest.length;
  const wide = { colspan: String(columns.length), class: 'line' };
  return h('table', {},
    h('caption', { class: 'hidden' }, options.caption),
    h('thead', {}, groupLine(columns), h('tr', {}, columns.map((one) => heading(one, sort, onsort)))),
    h('tbody', {},
      shown.map(line),
      rest.length > 0 && h('tr', {}, h('td', wide, 'Below the line: not ranked')),
      rest.map(line),
      rows.length === 0 && h('tr', {}, h('td', wide, 'Nothing passes these filters.')),
      left > 0 && h('tr', {}, h('td', wide, h('button', {
        type: 'button', onclick: () => { options.most = Infinity; again(); },
      }, `Show ${left} more`)))));
}

function heading(column, sort, onsort) {
  const sorted = column.key === sort.key;
  const aria = sorted ? (sort.order === 'asc' ? 'ascending' : 'descending') : 'none';
  return h('th', { scope: 'col', 'aria-sort': aria, class: column.text ? 'text' : null },
    h('button', { type: 'button', class: 'sort', title: column.title, 'data-key': `sort ${column.key}`, onclick: () => onsort(column.key) },
      column.label, h('span', { class: 'arrow', 'aria-hidden': 'true' }, sorted ? (sort.order === 'asc' ? '▲' : '▼') : '')));
}

function groupLine(columns) {
  if (!columns.some((column) => column.group)) return null;
  const groups = [];
  for (const column of columns) {
    const last = groups.at(-1);
    if (last && last.name === column.group) last.count += 1;
    else groups.push({ name: column.group, count: 1, cell: column.groupCell });
  }
  return h('tr', { class: 'groups' }, groups.map(({ name, count, cell }) =>
    name ? h('th', { colspan: String(count), scope: 'colgroup' }, cell ? cell() : name) : h('td', { colspan: String(count) })));
}

/** Stable; values that are missing go last in either order. */
function inOrder(rows, column, order) {
  const sign = order === 'asc' ? 1 : -1;
  return rows
    .map((row) => [column.value(row), row])
    .sort(([a], [b]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return sign * (typeof a === 'string' ? a.localeCompare(b, 'en', { numeric: true }) : a - b);
    })
    .map(([, row]) => row);
}
