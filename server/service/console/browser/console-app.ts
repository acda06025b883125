/** The console: opens the page that the address names, and keeps theme and token. */
import { clusterPage } from './cluster-page.ts';
import { token } from './console-api.ts';
import { conversionPage } from './conversion-page.ts';
import { conversionsPage } from './conversions-page.ts';
import { type Page, SignInNeeded } from './live-page.ts';
import { repositoriesPage } from './repositories-page.ts';
import { showSignIn } from './sign-in-page.ts';

const THEMES = ['system', 'light', 'dark'] as const;
const THEME_KEY = 'accel-theme';

const main = document.getElementById('main')!;
const signOut = document.getElementById('sign-out') as HTMLButtonElement;
const themeButton = document.getElementById('theme')!;
let left = new AbortController();

function pageOf(path: string): { readonly name: string; readonly title: string; readonly page: Page } {
  const [, first = '', second = ''] = path.split('/');
  if (first === 'repositories') return { name: first, title: 'Repositories', page: repositoriesPage };
  if (first === 'cluster') return { name: first, title: 'Cluster', page: clusterPage };
  if (first === 'conversions' && second !== '') {
    return { name: first, title: 'Conversion', page: conversionPage(decodeURIComponent(second)) };
  }
  return { name: 'conversions', title: 'Conversions', page: conversionsPage };
}

async function open(moveFocus: boolean): Promise<void> {
  left.abort();
  left = new AbortController();
  const { signal } = left;
  const [path = ''] = location.hash.replace(/^#/, '').split('?');
  const { name, title, page } = pageOf(path);
  document.title = `${title} · accel`;
  signOut.hidden = token.get() === null;
  for (const link of document.querySelectorAll('nav a')) {
    if ((link as HTMLElement).dataset.page === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (moveFocus) main.focus({ preventScroll: true });
  try {
    await page(main, signal);
  } catch (error) {
    if (!(error instanceof SignInNeeded)) throw error;
    if (!signal.aborted) showSignIn(main, () => void open(true));
  }
}

function showTheme(theme: string): void {
  themeButton.textContent = `Theme: ${theme}`;
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

themeButton.addEventListener('click', () => {
  const now = THEMES.findIndex((theme) => theme === (localStorage.getItem(THEME_KEY) ?? 'system'));
  const next = THEMES[(now + 1) % THEMES.length]!;
  localStorage.setItem(THEME_KEY, next);
  showTheme(next);
});
signOut.addEventListener('click', () => {
  token.clear();
  void open(true);
});
// Its address would open a page.
document.querySelector('.skip')?.addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', () => void open(true));
showTheme(localStorage.getItem(THEME_KEY) ?? 'system');
void open(false);
