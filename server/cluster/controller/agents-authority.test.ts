/** An authority of agents takes the place of another, and at no time does a certificate meet an agent that does not trust it. */
import { X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { createAuthority } from '../../certificates/authority.ts';
import { leafLife, readAuthorities, renewedAuthorities, signerOf, writeAuthorities } from './agents-authority.ts';

const DAY = 86_400_000;
const LIFETIMES = { leaf: 14 * DAY, authority: 1095 * DAY };
// Certificates know whole seconds.
const START = Math.floor(Date.now() / 1000) * 1000;

it('is made once, replaced after two thirds of its life, and signs a life of a certificate later', async () => {
  const first = (await renewedAuthorities([], LIFETIMES, START))!;
  expect(first).toHaveLength(1);
  // Nobody has another one: it signs at once.
  expect(signerOf(first, LIFETIMES, START)).toBe(first[0]);
  expect(await renewedAuthorities(first, LIFETIMES, START + 729 * DAY)).toBeUndefined();
  const made = START + 731 * DAY;
  const both = (await renewedAuthorities(first, LIFETIMES, made))!;
  expect(both).toHaveLength(2);
  expect(both[1]).toBe(first[0]);
  expect(await renewedAuthorities(both, LIFETIMES, made + DAY)).toBeUndefined();
  // An agent that was served just before does not have it for two thirds of its certificate, and for the last third while the API is away.
  expect(signerOf(both, LIFETIMES, made)).toBe(both[1]);
  expect(signerOf(both, LIFETIMES, made + 13 * DAY)).toBe(both[1]);
  expect(signerOf(both, LIFETIMES, made + 14 * DAY)).toBe(both[0]);
});

it('never signs for longer than it holds itself', async () => {
  const [authority] = (await renewedAuthorities([], LIFETIMES, START))!;
  const end = Date.parse(new X509Certificate(authority!.cert).validTo);
  expect(leafLife(authority!, LIFETIMES, START).to.getTime()).toBe(START + 14 * DAY);
  expect(leafLife(authority!, LIFETIMES, end - DAY).to.getTime()).toBe(end);
  expect(leafLife(authority!, LIFETIMES, START).from.getTime()).toBeLessThan(START);
});

it('comes back from its Secret, without those that have ended, or not at all where a key is of another', async () => {
  const [old, now] = [
    await createAuthority('old', { from: new Date(START - 2 * DAY), to: new Date(START - DAY) }),
    await createAuthority('now', { from: new Date(START - DAY), to: new Date(START + DAY) }),
  ];
  expect(readAuthorities(writeAuthorities([now, old]), START - 1.5 * DAY).map(({ cert }) => cert.trim())).toEqual(
    [now, old].map(({ cert }) => cert.trim()),
  );
  expect(readAuthorities(writeAuthorities([now, old]), START)).toHaveLength(1);
  expect(readAuthorities(writeAuthorities([{ cert: now.cert, key: old.key }]), START)).toEqual([]);
  expect(readAuthorities({ 'ca.pem': btoa('x'), 'ca-key.pem': '' }, START)).toEqual([]);
  expect(readAuthorities(undefined)).toEqual([]);
});
