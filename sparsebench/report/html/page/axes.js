// Scales and ticks of the charts.

/** {at(value) -> position, ticks: [[value, label]]} between two positions. */
function linear(low, high, from, to, show, count = 5) {
  const room = high - low || 1;
  const raw = room / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) ticks.push([tick, show(tick, step)]);
  return { at: (value) => from + ((value - low) / room) * (to - from), ticks };
}

const ACCURACIES = [99.9, 99.8, 99.5, 99, 98, 97, 96, 95, 93, 90, 85, 80, 70, 60, 50, 40, 30, 20, 10, 0];

/** Accuracy on a scale that is logarithmic in the error: 99 to 98 % takes the room of 50 to 0 %. */
function errorScale(low, high, from, to) {
  const error = (value) => Math.log(Math.max(1 - value, 0.0005));
  const [worst, best] = [error(low), error(high)];
  const at = (value) => from + ((error(value) - worst) / (best - worst || 1)) * (to - from);
  const ticks = [];
  for (const tick of ACCURACIES) {
    const place = at(tick / 100);
    if (tick / 100 < low - 1e-9 || tick / 100 > high + 1e-9) continue;
    if (!ticks.length || Math.abs(place - at(ticks.at(-1)[0])) > Math.abs(to - from) / 11) ticks.push([tick / 100, String(tick)]);
  }
  return { at, ticks };
}

/** Sparsities on a scale of compression: one unit halves the weights. */
function compressionScale(sparsities, from, to) {
  const place = (sparsity) => -Math.log2(1 - sparsity);
  const [low, high] = [place(sparsities[0]), place(sparsities.at(-1))];
  const room = high - low;
  const at = (sparsity) => (room ? from + ((place(sparsity) - low) / room) * (to - from) : (from + to) / 2);
  const ticks = [];
  for (const sparsity of sparsities) {
    if (!ticks.length || at(sparsity) - at(ticks.at(-1)[0]) > 42) ticks.push([sparsity, sparsityLabel(sparsity).replace(' ', '')]);
  }
  return { at, ticks };
}

/** Values on a logarithmic scale with factors of two as ticks. */
function doublingScale(values, from, to) {
  const low = Math.log2(Math.max(Math.min(...values), 1e-3));
  const high = Math.log2(Math.max(...values));
  const room = high - low;
  const at = (value) => (room ? from + ((Math.log2(Math.max(value, 1e-3)) - low) / room) * (to - from) : (from + to) / 2);
  const ticks = [];
  for (let power = Math.ceil(low - 1e-6); power <= high + 1e-6; power += 1) {
    if (!ticks.length || Math.abs(at(2 ** power) - at(ticks.at(-1)[0])) > 42) ticks.push([2 ** power, `${2 ** power < 1 ? short(2 ** power) : 2 ** power}×`]);
  }
  return { at, ticks };
}

/** The frame of a panel: grid lines, tick labels, title. box: {left, right, top, bottom} */
function frameOf(box, x, y, label) {
  return [
    y.ticks.map(([value, text]) => [
      s('line', { class: 'grid', x1: box.left, x2: box.right, y1: y.at(value), y2: y.at(value) }),
      s('text', { class: 'tick', x: box.left - 6, y: y.at(value) + 4, 'text-anchor': 'end' }, text),
    ]),
    x.ticks.map(([value, text]) => [
      s('line', { class: 'grid', x1: x.at(value), x2: x.at(value), y1: box.top, y2: box.bottom }),
      s('text', { class: 'tick', x: x.at(value), y: box.bottom + 17, 'text-anchor': 'middle' }, text),
    ]),
    s('text', { class: 'tick', x: (box.left + box.right) / 2, y: box.bottom + 34, 'text-anchor': 'middle' }, label),
  ];
}
