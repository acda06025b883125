/** The Retry-After header (RFC 9110 §10.2.3), and waits as a person reads them. */

/** The wait that a Retry-After header asks for, in milliseconds from `now`; undefined without one that makes sense. */
export function parseRetryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*\d+\s*$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : date - now;
}

/** The latest instant that Date can hold. */
const LAST_INSTANT = 8.64e15;

/** `2026-11-28 08:05:30 UTC`. */
export function formatTime(milliseconds: number): string {
  const instant = new Date(Math.min(Math.ceil(milliseconds / 1000) * 1000, LAST_INSTANT)).toISOString();
  return `${instant.slice(0, instant.indexOf('.')).replace('T', ' ')} UTC`;
}

/** `20 ms`, `1.5 s`, `30 s`, `2 min`, `1 h 30 min`, `11574 d`. */
export function formatWait(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds > 0 && seconds < 0.1) return `${Math.ceil(milliseconds)} ms`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.round(hours / 24)} d`;
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}
