// Light, dark, or as the system has it.

const THEMES = { auto: ['◐', 'as the system'], light: ['☀', 'light'], dark: ['☾', 'dark'] };

function themeButton() {
  const button = document.getElementById('theme');
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const show = (name) => {
    if (name === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    const [sign, words] = THEMES[name];
    button.textContent = sign;
    button.title = `Colours: ${words}`;
    button.setAttribute('aria-label', `Colours: ${words}. Change`);
    button.dataset.theme = name;
  };
  button.addEventListener('click', () => {
    // From what is seen to its opposite first, so that one click always changes something.
    const order = dark.matches ? ['auto', 'light', 'dark'] : ['auto', 'dark', 'light'];
    const next = order[(order.indexOf(button.dataset.theme) + 1) % order.length];
    show(next);
    remember(next);
  });
  show(remembered());
}

// A page opened from a file may have no storage.
function remembered() {
  try { return localStorage.getItem('theme') in THEMES ? localStorage.getItem('theme') : 'auto'; } catch { return 'auto'; }
}

function remember(name) {
  try { localStorage.setItem('theme', name); } catch { /* it lasts until the page is closed */ }
}
