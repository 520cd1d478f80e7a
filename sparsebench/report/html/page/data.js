// The data block: read, and turned from columns into objects.

async function readPayload() {
  const block = document.getElementById('data');
  if (block.type === 'application/json') return JSON.parse(block.textContent);
  if (typeof DecompressionStream === 'undefined') {
    throw new Error('this browser cannot unpack the data (no DecompressionStream); leaderboard.csv has the numbers');
  }
  const packed = Uint8Array.from(atob(block.textContent), (sign) => sign.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
}

/** {a: [1, 2], b: [3, 4]} -> [{a: 1, b: 3}, {a: 2, b: 4}]; columns that are no lists of that length are left out. */
function rowsOf(frame, length) {
  if (!frame) return [];
  const names = Object.keys(frame).filter((name) => Array.isArray(frame[name]) && (length === undefined || frame[name].length === length));
  const count = length ?? (names.length ? frame[names[0]].length : 0);
  return Array.from({ length: count }, (_, at) => Object.fromEntries(names.map((name) => [name, frame[name][at]])));
}

const keyOf = (task, method, sparsity) => JSON.stringify([task, method, sparsity]);

/** The page's model: board, methods, rows by cell, and records on demand. */
function modelOf(payload) {
  const { board } = payload;
  const rows = rowsOf(payload.rows);
  const summary = rowsOf(payload.summary);
  const byKey = new Map(rows.map((row) => [keyOf(row.task, row.method, row.sparsity), row]));
  const tasks = board.tasks.filter((task) => rows.some((row) => row.task === task));
  const sparsities = [...new Set(rows.filter((row) => row.method !== 'dense').map((row) => row.sparsity))].sort((a, b) => a - b);
  const byMethod = new Map(summary.map((row) => [row.method, row]));
  const { records } = payload;
  const places = new Map();
  records.id.forEach((_, at) => {
    const key = keyOf(records.task[at], records.method[at], records.sparsity[at]);
    if (!places.has(key)) places.set(key, []);
    places.get(key).push(at);
  });
  for (const row of [...summary, ...rows]) row.structure = payload.structures[row.method] || 'weights';
  for (const row of rows) row.budget ??= byMethod.get(row.method)?.budget ?? null;
  return {
    ...payload, rows, summary, byKey, byMethod, tasks, sparsities,
    differences: rowsOf(payload.differences),
    points: rowsOf(payload.points),
    unverified: new Set((records.unverified || []).flatMap((yes, at) => (yes ? [records.method[at]] : []))),
    methods: summary.map((row) => row.method),
    dense: new Map(rows.filter((row) => row.method === 'dense').map((row) => [row.task, row])),
    recordsOf: (task, method, sparsity) => places.get(keyOf(task, method, sparsity)) || [],
  };
}

/** Everything one record holds, by its place. */
function recordAt(model, at) {
  const { records } = model;
  const one = { metrics: {} };
  for (const [name, values] of Object.entries(records)) {
    if (Array.isArray(values) && values.length === records.id.length) one[name] = values[at];
  }
  for (const [name, values] of Object.entries(records.metrics)) one.metrics[name] = values[at];
  one.provenance = records.provenances[records.provenance[at]];
  one.fingerprint = records.fingerprints[records.fingerprint[at]] || {};
  one.audit = records.audit ? records.audit[at].map((place) => records.verdicts[place]) : null;
  one.losses = records.losses ? records.losses[at] : [];
  one.corruptions = records.corruptions ? records.corruptions[at] : null;
  one.layers = layersAt(model, at);
  return one;
}

/** [{name, kept, size}] of one record; null where the page does not have them. */
function layersAt({ records }, at) {
  if (!records.layers) return null;
  const shape = records.shapes[records.shape[at]];
  return shape.map(([name, size], place) => ({ name, size, kept: records.layers[at][place] }));
}
