// Numbers as text. Fractions are shown in percent without the sign.

const NONE = '–';
const missing = (value) => value === null || value === undefined || Number.isNaN(value);

const percent = (value, digits = 1) => (missing(value) ? NONE : (100 * value).toFixed(digits));
const fixed = (value, digits = 2, unit = '') => (missing(value) ? NONE : value.toFixed(digits) + unit);
const short = (value, unit = '') => (missing(value) ? NONE : String(Number(value.toPrecision(3))) + unit);
const times = (value) => (missing(value) ? NONE : `${value < 99.5 ? value.toFixed(1) : Math.round(value)} ×`);
const signed = (value, digits = 1) =>
  missing(value) ? NONE : (value > 0 ? '+' : value < 0 ? '−' : '±') + Math.abs(100 * value).toFixed(digits);

/** Sparsity in percent, with as many digits as it takes not to read 100 %. */
function sparsityLabel(sparsity) {
  for (let digits = 1; digits < 6; digits += 1) {
    const text = (100 * sparsity).toFixed(digits);
    if (Number(text) < 100) return `${Number(text)} %`;
  }
  return `${100 * sparsity} %`;
}

/** 1.2e9 -> "1.2 G" */
function metric(value, unit = '') {
  if (missing(value)) return NONE;
  const steps = [[1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']];
  const [step, sign] = steps.find(([bound]) => Math.abs(value) >= bound) || [1, ''];
  return `${Number((value / step).toPrecision(3))} ${sign}${unit}`.trim();
}

/** A word as a POSIX shell takes it. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
