/** Bytes of an archive made fit for a message: readable where they are text, and never able to steer a terminal. */

const LONGEST = 200;

/** A Latin-1 string of raw bytes for a message: read as UTF-8, control characters escaped, at most 200 characters. */
export function printable(raw: string): string {
  const decoded = Buffer.from(raw.slice(0, 4 * LONGEST), 'latin1').toString('utf8');
  let out = '';
  for (const character of decoded) {
    const code = character.codePointAt(0)!;
    const control = code < 0x20 || (code >= 0x7f && code < 0xa0) || code === 0x2028 || code === 0x2029;
    out += control ? `\\x${code.toString(16).padStart(2, '0')}` : character;
    if (out.length >= LONGEST) return `${out.slice(0, LONGEST)}…`;
  }
  return raw.length > 4 * LONGEST ? `${out}…` : out;
}
