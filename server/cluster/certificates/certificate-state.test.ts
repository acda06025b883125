import { X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { createAuthority } from '../../certificates/authority.ts';
import {
  bundleText,
  type CertificateState,
  endOf,
  nextRenewal,
  readState,
  renewed,
  writeState,
} from './certificate-state.ts';

const DAY = 86_400_000;
const NOW = Date.parse('2026-11-28T12:00:00Z');
const WISHES = { hosts: ['accel-admission.accel.svc', '127.0.0.1'], lifetime: 90 * DAY, authorityLifetime: 900 * DAY };
const made = async (now = NOW) => (await renewed(undefined, WISHES, now))!;
const verifies = ({ leaf }: CertificateState, authority: string) =>
  new X509Certificate(leaf.cert).verify(new X509Certificate(authority).publicKey);

it('makes an authority and a certificate for all names', async () => {
  const state = await made();
  expect(state.bundle).toEqual([state.authority.cert]);
  const leaf = new X509Certificate(state.leaf.cert);
  expect(leaf.checkHost('accel-admission.accel.svc')).toBeDefined();
  expect(leaf.checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(leaf.checkHost('other.accel.svc')).toBeUndefined();
  expect(verifies(state, state.authority.cert)).toBe(true);
  expect(endOf(state.leaf.cert)).toBe(NOW + 90 * DAY);
});

it.each([
  ['nothing is due before two thirds of its life', 59, { leaf: true, authority: true }],
  ['a certificate after two thirds', 61, { leaf: false, authority: true }],
  ['a certificate that has ended', 91, { leaf: false, authority: true }],
  ['an authority after two thirds', 601, { leaf: false, authority: false }],
] as const)('%s', async (_, days, keeps) => {
  const state = await made();
  const next = (await renewed(state, WISHES, NOW + days * DAY)) ?? state;
  expect({ leaf: next.leaf.cert === state.leaf.cert, authority: next.authority.cert === state.authority.cert }).toEqual(
    keeps,
  );
  expect(verifies(next, next.bundle[0]!)).toBe(true);
  expect(next.bundle).toContain(state.authority.cert);
});

it('trusts the old authority beside the new one until it ends', async () => {
  const first = await made();
  const second = (await renewed(first, WISHES, NOW + 601 * DAY))!;
  expect(second.bundle).toEqual([second.authority.cert, first.authority.cert]);
  const later = (await renewed(second, WISHES, NOW + 901 * DAY))!;
  expect(later.bundle).toEqual([second.authority.cert]);
  expect(later.authority).toEqual(second.authority);
});

it('begins again with an authority that has ended, and keeps no end of a certificate after that of its authority', async () => {
  const first = await made();
  const again = (await renewed(first, WISHES, NOW + 1000 * DAY))!;
  expect(again.bundle).toEqual([again.authority.cert]);
  const late = (await renewed(first, { ...WISHES, lifetime: 800 * DAY }, NOW + 599 * DAY))!;
  expect(endOf(late.leaf.cert)).toBe(endOf(late.authority.cert));
});

it('makes a certificate for a name that the present one has not', async () => {
  const state = await made();
  const next = (await renewed(state, { ...WISHES, hosts: ['other.accel.svc'] }, NOW))!;
  expect(next.authority).toEqual(state.authority);
  expect(new X509Certificate(next.leaf.cert).checkHost('other.accel.svc')).toBeDefined();
});

it('looks again when the first of its certificates is due', async () => {
  const due = nextRenewal(await made());
  expect(due).toBeGreaterThan(NOW + 59.9 * DAY);
  expect(due).toBeLessThan(NOW + 60.1 * DAY);
});

it('reads from a Secret what it wrote, and takes nothing that does not belong together', async () => {
  const [state, other] = [await made(), await made()];
  expect(bundleText(readState(writeState(state))!.bundle)).toBe(bundleText(state.bundle));
  const data = writeState(state);
  const foreign = writeState(other);
  expect(readState(undefined)).toBeUndefined();
  for (const key of Object.keys(data)) {
    expect(readState({ ...data, [key]: foreign[key]! }), key).toBeUndefined();
    expect(readState({ ...data, [key]: '' }), key).toBeUndefined();
    expect(readState({ ...data, [key]: Buffer.from('x').toString('base64') }), key).toBeUndefined();
  }
});

it('bounds the bundle', async () => {
  let state = await made();
  const old = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      createAuthority(`old ${index}`, { from: new Date(NOW), to: new Date(NOW + 900 * DAY) }),
    ),
  );
  state = { ...state, bundle: [...state.bundle, ...old.map(({ cert }) => cert)] };
  expect((await renewed(state, WISHES, NOW + 601 * DAY))!.bundle).toHaveLength(8);
});
