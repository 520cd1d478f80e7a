// The images: tiles of one picture, cut out by style.

function usePictures() {
  const set = theSet();
  for (const name of ['pictures', 'shown_pictures']) {
    document.documentElement.style.setProperty(`--${name}`, set[name] ? `url("${set[name].src}")` : 'none');
  }
}

function tile(sheet, name, at, alt) {
  if (!sheet || at < 0) return null;
  const share = (place, count) => `${count > 1 ? (100 * place) / (count - 1) : 0}%`;
  return h('span', {
    class: 'picture', role: 'img', 'aria-label': alt,
    vars: {
      'background-image': `var(--${name})`, 'background-size': `${100 * sheet.columns}% ${100 * sheet.rows}%`,
      'background-position': `${share(at % sheet.columns, sheet.columns)} ${share(Math.floor(at / sheet.columns), sheet.rows)}`,
      'aspect-ratio': `${sheet.tile[0]} / ${sheet.tile[1]}`,
    },
  });
}

/** The clean image, or nothing where pictures were not kept. */
const picture = (place) => tile(theSet().pictures, 'pictures', place, `image ${theSet().rows[place]}`);

/** A corrupted showing of it. */
function shownPicture(at) {
  const sheet = theSet().shown_pictures;
  if (!sheet) return null;
  sheet.places ||= new Map(sheet.at.map((showing, place) => [showing, place]));
  return tile(sheet, 'shown_pictures', sheet.places.get(at) ?? -1, `${kindName(theSet().shown.kind[at])}, severity ${theSet().shown.severity[at]}`);
}
