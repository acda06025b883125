/** The life of a page: it loads, shows data, an error or nothing, asks again on an interval, and ends when another one is opened. */
import { ApiError } from './console-api.ts';
import { element, errorPanel } from './page-elements.ts';

/** Fills `main`; `signal` fires when the page is left. */
export type Page = (main: HTMLElement, signal: AbortSignal) => Promise<void> | void;

/** Milliseconds between two requests of a live page. */
const INTERVAL = 2000;

/** Thrown to the application where a token is needed. */
export class SignInNeeded extends Error {}

/**
 * Repeats `load` while the page is open and visible: at an interval, or at once when `again` is called. An error replaces `place` until
 * a later try succeeds.
 */
export async function keepLoading(
  place: HTMLElement,
  load: (again: () => void) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  place.replaceChildren(element('p', { class: 'muted', role: 'status' }, 'Loading …'));
  while (!signal.aborted) {
    let wake: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      wake = resolve;
    });
    try {
      await load(wake);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status === 401) throw new SignInNeeded();
      const { message, hint } = error instanceof ApiError ? error : { message: String(error), hint: undefined };
      place.replaceChildren(errorPanel(message, hint, wake));
    }
    await Promise.race([asked, visibleLater(signal)]);
  }
}

/** Waits for the interval, and as long as nobody looks at the page. */
function visibleLater(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!document.hidden || signal.aborted) {
        document.removeEventListener('visibilitychange', look);
        resolve();
      }
    };
    const timer = setTimeout(() => {
      document.addEventListener('visibilitychange', look);
      look();
    }, INTERVAL);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        look();
      },
      { once: true },
    );
  });
}
