import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { AccelError } from './error.ts';
import { hideSecret, redact } from './secrets.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const everyByte = (text: string) =>
  [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
const everyUnit = (text: string) =>
  [...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`).join('');

describe.each(['hunter22', 'pa"ss\\wörd +/=', "Ünï<&>'cøde😀", 'a b  c%20d', 'line\nbreak', 'UPPER-lower'])(
  'the secret %j',
  (secret) => {
    hideSecret(secret);
    test.each([
      ['as it is', secret],
      ['in a path', new URL(`https://h.io/v2/${encodeURIComponent(secret)}/x`).href],
      [
        'in a URL that the parser escaped',
        new URL(`https://h.io/?q=${secret.replace(/[\n#]/g, encodeURIComponent)}`).href,
      ],
      ['as a form value', new URLSearchParams({ q: secret }).toString()],
      ['percent, every byte', everyByte(secret)],
      ['percent, upper case', everyByte(secret).toUpperCase()],
      ['percent twice', encodeURIComponent(everyByte(secret))],
      ['JSON', JSON.stringify({ q: secret })],
      ['JSON in JSON', JSON.stringify({ q: JSON.stringify(secret) })],
      ['JSON, every unit escaped', everyUnit(secret)],
      ['base64', base64(secret)],
      ['base64url', Buffer.from(secret).toString('base64url')],
      ['base64 of user:password', base64(`bob:${secret}`)],
      ['base64 within a longer text', base64(`xx{"auth":"${secret}"}`)],
      ['percent-encoded base64', encodeURIComponent(base64(`u:${secret}`))],
      ['hexadecimal', Buffer.from(secret).toString('hex')],
      ['HTML', secret.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)],
      ['lower case', secret.toLowerCase()],
      ['bytes taken for Latin-1', Buffer.from(secret).toString('latin1')],
      ['whitespace collapsed', secret.replace(/\s+/g, ' ')],
    ])('%s', (_, spelled) => {
      expect(redact(`before (${spelled}) after`)).toMatch(/^before \(.*\*\*\*.*\) after$/);
      expect(redact(`before (${spelled}) after`)).not.toContain(spelled);
      expect(redact(spelled).toLowerCase()).not.toContain(secret.toLowerCase().slice(0, 5));
    });
  },
);

test('what touches is one replacement, what lies around stays', () => {
  hideSecret('tokentoken');
  expect(redact('tokentokentokentoken')).toBe('***');
  expect(redact('a tokentoken, b tokentoken.')).toBe('a ***, b ***.');
});

test('the base64 around a secret goes with it, since it holds bits of it', () => {
  hideSecret('s3cr3t-password');
  expect(redact(`Basic ${base64('alice:s3cr3t-password')} was refused`)).toBe('Basic *** was refused');
});

test('a secret of two or three letters is replaced where it is a word', () => {
  hideSecret('pw');
  expect(redact('/v2/pw/gone of pwd, spw and (PW)')).toBe('/v2/***/gone of pwd, spw and (***)');
});

test('a single letter is no secret', () => {
  hideSecret('x');
  expect(redact('x x x')).toBe('x x x');
});

test('an error holds no secret in any of its fields', () => {
  hideSecret('in-every-field');
  const secret = 'in-every-field';
  const error = new AccelError('registry-error', `m ${secret}`, {
    where: { url: `https://h/${secret}`, offset: 5 },
    expected: secret,
    found: base64(secret),
    hint: `h ${secret}`,
  });
  expect(JSON.stringify([error, error.message, error.stack])).not.toContain(secret);
  expect(error.where).toEqual({ url: 'https://h/***', offset: 5 });
  expect([error.message, error.expected, error.found, error.hint]).toEqual(['m ***', '***', '***', 'h ***']);
});

it('leaves other text as it is', () => {
  hideSecret('never-in-there-0123');
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      fc.pre(!text.includes('pw'));
      return redact(text) === text;
    }),
  );
});
