/** Quantities as people read them: decimal units (1 MB = 1,000,000 bytes, as registries and `docker images` count). */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** Bytes with three significant digits: `999 B`, `1.5 kB`, `30.1 MB`, `123 MB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 999.5 would round to 1000: it belongs to the next unit already.
  while (unit < UNITS.length - 1 && (unit === 0 ? value >= 1000 : value >= 999.5)) {
    value /= 1000;
    unit++;
  }
  if (unit === 0) return `${Math.round(value)} B`;
  return `${value.toFixed(value >= 99.95 ? 0 : 1)} ${UNITS[unit]}`;
}

/** Bytes a second: `210 MB/s`. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

/** Seconds: `0.3 s`, `12 s`, `2 min 5 s`, `1 h 4 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A share as a percentage: `0.8 %`, `3.1 %`, `131 %`. */
export function formatShare(share: number): string {
  const percent = share * 100;
  return `${percent.toFixed(percent >= 9.95 ? 0 : 1)} %`;
}

/** `1 layer`, `2 layers`. */
export function formatCount(count: number, noun: string): string {
  if (count === 1) return `1 ${noun}`;
  return `${count} ${noun.endsWith('y') ? `${noun.slice(0, -1)}ie` : noun}s`;
}

/** Digits from which a number of bytes is hard to read. */
const LONG_BYTES = /\b(\d{5,16}) bytes\b(?! \()/g;

/** Adds a size with a unit to every long number of bytes in a text: `65537 bytes (65.5 kB)`. */
export function withReadableSizes(text: string): string {
  return text.replace(LONG_BYTES, (whole, digits: string) => `${whole} (${formatBytes(Number(digits))})`);
}
